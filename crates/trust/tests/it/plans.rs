//! Whom a machine tells what it would do.

use stead_trust::{PlanError, SignatureNamespace, Signer, may_plan, sign_plan, verify};

use crate::fleet::{Fleet, key, minutes, noon, profile};

#[test]
fn a_machine_plans_only_for_whom_the_root_lets_change_it() {
    let fleet = Fleet::new();
    let memory = fleet.memory(Some("graz"));
    let (put, delete) = (vec![profile("web-1")], vec!["web-2".to_owned()]);
    let (document, signatures) = sign_plan(fleet.id(), &put, &delete, noon(), &[&fleet.owner]).unwrap();
    may_plan(&memory, &document, &signatures, &put, &delete, noon() + minutes(10)).unwrap();

    let late = may_plan(&memory, &document, &signatures, &put, &delete, noon() + minutes(16));
    assert!(matches!(late, Err(PlanError::Time { .. })), "{late:?}");
    let other = may_plan(&memory, &document, &signatures, &[profile("web-3")], &delete, noon());
    assert!(matches!(other, Err(PlanError::Other { .. })), "{other:?}");
    let more = may_plan(&memory, &document, &signatures, &put, &[], noon());
    assert!(matches!(more, Err(PlanError::Other { .. })), "{more:?}");

    let (document, signatures) = sign_plan(fleet.id(), &put, &delete, noon(), &[&key(66)]).unwrap();
    let stranger = may_plan(&memory, &document, &signatures, &put, &delete, noon());
    assert!(matches!(stranger, Err(PlanError::Unauthorised { .. })), "{stranger:?}");
    let fleet_id = stead_model::Digest::of(b"another");
    let (document, signatures) = sign_plan(fleet_id, &put, &delete, noon(), &[&fleet.owner]).unwrap();
    let foreign = may_plan(&memory, &document, &signatures, &put, &delete, noon());
    assert!(matches!(foreign, Err(PlanError::Other { .. })), "{foreign:?}");
}

#[test]
fn a_request_for_a_plan_is_worth_nothing_as_a_change() {
    let fleet = Fleet::new();
    let (document, signatures) = sign_plan(fleet.id(), &[profile("web-1")], &[], noon(), &[&fleet.owner]).unwrap();
    assert_eq!(&verify(SignatureNamespace::Plan, &document, &signatures[0]).unwrap(), fleet.owner.public_key());
    assert!(verify(SignatureNamespace::Change, &document, &signatures[0]).is_err());
}
