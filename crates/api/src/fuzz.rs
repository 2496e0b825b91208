//! Fuzz targets for what an unauthenticated or a careless peer can send.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use stead_model::Digest;
use stead_trust::{SignedToken, Signer as _, SigningKey};

use crate::page_token::PageToken;
use crate::patch::Patch;
use crate::path::Route;
use crate::query::{FieldValidation, Query};
use crate::resource::Resource;
use crate::token::{Checked, encode};
use crate::{body, instant, media, protobuf};

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[test]
fn fuzz_path() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(Route::Objects(route)) = Route::parse(&text(bytes)) {
            assert!(route.name.is_none() || route.namespace.is_some() == route.resource.info.namespaced);
        }
    });
}

#[test]
fn fuzz_query() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(query) = Query::parse(&text(bytes)) else { return };
        let _ = query.dry_run();
        let _ = query.field_validation(FieldValidation::Strict);
        if let Ok(options) = query.list_options() {
            for resource in Resource::all() {
                let _ = crate::fields::FieldMatcher::new(resource, &options.fields);
            }
        }
    });
}

#[test]
fn fuzz_selectors() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(selector) = text(bytes).parse::<stead_model::Selector>() {
            let again: stead_model::Selector = selector.to_string().parse().expect("what is printed reads back");
            assert_eq!(selector.to_string(), again.to_string());
        }
        let _ = text(bytes).parse::<stead_model::FieldSelector>();
    });
}

#[test]
fn fuzz_page_token() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(token) = PageToken::parse(&text(bytes)) {
            assert_eq!(PageToken::parse(&token.to_text()).ok(), Some(token));
        }
    });
}

#[test]
fn fuzz_token() {
    let (person, coordinator) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[7; 32]));
    let (fleet, now, until) = (Digest::of(b"fleet"), jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
    let good = encode(&SignedToken::sign(fleet, person.public_key(), now, until, &coordinator).expect("it signs"));
    bolero::check!().for_each(|bytes: &[u8]| {
        let given = text(bytes);
        assert!(given == good || Checked::default().check(&given, &fleet, now).is_err());
        // As a token that only its last part is wrong of.
        let (head, _) = good.rsplit_once('.').expect("it has three parts");
        assert!(Checked::default().check(&format!("{head}.{given}"), &fleet, now).is_err());
    });
}

#[test]
fn fuzz_media() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        let headers = HeaderMap::from_iter([(ACCEPT, value.clone()), (CONTENT_TYPE, value)]);
        let _ = media::form(&headers);
        let _ = media::encoding(&headers);
        let _ = media::aggregated_discovery(&headers);
    });
}

#[test]
fn fuzz_protobuf() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = protobuf::decode(bytes);
        // Most bytes are no envelope, so that the messages get a try of their own.
        for (api_version, kind) in [
            ("v1", "Namespace"),
            ("v1", "Event"),
            ("coordination.k8s.io/v1", "Lease"),
            ("v1", "DeleteOptions"),
            ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
        ] {
            if let Ok(value) = protobuf::decode(&protobuf::envelope(api_version, kind, bytes)) {
                assert_eq!(value["kind"], kind);
            }
        }
    });
}

#[test]
fn fuzz_body() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for value in [body::json(bytes), body::yaml(bytes)].into_iter().flatten() {
            parse_as_every_kind(&value);
        }
    });
}

fn parse_as_every_kind(value: &Value) {
    for resource in Resource::all() {
        let mut value = value.clone();
        instant::normalise(&mut value);
        if body::settle_names(&mut value, None, None).is_ok() {
            let _ = body::parse(resource, value, FieldValidation::Strict, false);
        }
    }
}

#[test]
fn fuzz_patch() {
    let live = json!({"metadata": {"name": "n", "finalizers": ["a"], "labels": {"x": "1"}}, "status": {"conditions": [{"type": "A"}]}, "l": [1]});
    let lease = Resource::by_path("coordination.k8s.io", "v1", "leases").expect("leases are served");
    bolero::check!().for_each(|bytes: &[u8]| {
        for media_type in
            ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"]
        {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
            if let Ok(patch) = Patch::read(lease, &headers, bytes) {
                let _ = patch.apply(live.clone());
            }
        }
    });
}
