//! What does not enter, and that nothing of it is left behind.

use serde_json::json;
use stead_admission::WriteError;
use stead_trust::{AdmissionError, SigningKey};

use crate::fleet::{Fleet, caller, object, profile};

#[tokio::test]
async fn forged_replayed_and_altered_changes_are_refused() {
    let fleet = Fleet::new().await;
    let stranger = SigningKey::from_seed(&[66; 32]);
    let web = profile("x");

    let forged = fleet.admission.submit(&caller(), &fleet.signed(&stranger, &web, 1), false).await.unwrap_err();
    assert!(matches!(forged, WriteError::Refused(AdmissionError::Unauthorised { .. })), "{forged}");

    let mut altered = fleet.signed(&fleet.owner, &web, 1);
    let object = altered.entries[0].object.as_mut().unwrap();
    let last = object.len() - 5;
    object[last] ^= 1;
    let error = fleet.admission.submit(&caller(), &altered, false).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(_)), "{error}");
    assert!(fleet.stored(&web.key()).is_none());

    let good = fleet.signed(&fleet.owner, &web, 1);
    fleet.admission.submit(&caller(), &good, false).await.unwrap();
    let again = fleet.admission.submit(&caller(), &good, false).await.unwrap_err();
    assert!(matches!(again, WriteError::Refused(AdmissionError::NeedsSigning { .. })), "{again}");
    let ahead = fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &web, 5), false).await.unwrap_err();
    assert!(matches!(ahead, WriteError::Refused(AdmissionError::SequenceAhead { .. })), "{ahead}");
}

#[tokio::test]
async fn what_is_signed_must_also_be_right() {
    let fleet = Fleet::new().await;
    let mut bad = profile("x");
    bad.fields.insert("spec".to_owned(), json!({"selector": {}, "files": [{"path": "/../etc/passwd"}]}));
    let error = fleet.admission.submit(&caller(), &fleet.signed(&fleet.owner, &bad, 1), false).await.unwrap_err();
    assert!(error.to_string().contains("spec.files[0].path"), "{error}");
    let mut lease = object("Lease", "l", serde_json::Value::Null);
    lease.metadata.namespace = "nowhere".to_owned();
    let write = stead_admission::Write::Put { object: lease, expect: stead_store::Expect::Any };
    let error = fleet.admission.write(&caller(), "", vec![write], false).await.unwrap_err();
    assert!(matches!(error, WriteError::NamespaceMissing { .. }), "{error}");
}
