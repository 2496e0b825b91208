//! `kubectl auth can-i` through the proxy: what owners must sign, whoever runs it may do with the keys that it signs with.

use http::{Method, StatusCode};
use serde_json::Value;
use stead_admission::Rule;
use stead_model::{AccessAnswer, AccessQuestion, ResourceAttributes, registry};
use stead_trust::{PublicKey, Root};

use super::Proxy;
use super::answer::{Answer, Asked, document, failed, refusal, refused, stream};
use crate::client::ClientError;
use crate::keyring::Keyring;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// What the proxy signs.
const VERBS: [&str; 4] = ["create", "update", "patch", "delete"];

/// Whether it is the question.
pub(super) fn is_asked(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.path.trim_end_matches('/') == REVIEWS
}

impl Proxy {
    /// The coordinator's answer, but for what is signed here.
    pub(super) async fn can_i(&self, asked: &Asked) -> Result<Answer, Answer> {
        let response = self.send(asked).await?;
        if response.status() != StatusCode::CREATED {
            return Ok(stream(response));
        }
        let body = response.bytes().await.map_err(|error| refusal(503, "ServiceUnavailable", &error.to_string()))?;
        let unreadable = |source| refused(ClientError::Answer { path: REVIEWS.to_owned(), source });
        let mut review: Value = serde_json::from_slice(&body).map_err(unreadable)?;
        let question = review.get("spec").cloned().and_then(|spec| serde_json::from_value::<AccessQuestion>(spec).ok());
        if let Some(meant) = question.and_then(|question| question.resource_attributes) {
            let client = self.client().await;
            let keyring = Keyring::fetch(&client, &self.settings).await.map_err(|failure| failed(&failure))?;
            let keys: Vec<&PublicKey> = self.keys.iter().map(|key| key.public_key()).collect();
            if let Some(role) = signing_role(keyring.chain().newest(), &keys, &meant) {
                let reason = format!("signed by this proxy, for role {role}");
                if let Some(members) = review.as_object_mut() {
                    members.insert("status".to_owned(), serde_json::json!(AccessAnswer { allowed: true, reason }));
                }
            }
        }
        Ok(document(StatusCode::CREATED.as_u16(), &review))
    }
}

/// The role for which these keys are enough, where owners must sign what is meant.
fn signing_role<'r>(root: &'r Root, keys: &[&PublicKey], meant: &ResourceAttributes) -> Option<&'r str> {
    if !VERBS.contains(&meant.verb.as_str()) || !meant.subresource.is_empty() {
        return None;
    }
    let info = registry().iter().find(|info| info.plural == meant.resource && info.group == meant.group)?;
    let kind = info.group_kind();
    if !matches!(Rule::of(root, &kind), Rule::Owner { .. }) {
        return None;
    }
    let given = |text: &'_ String| !text.is_empty();
    let namespace =
        if info.namespaced { Some(&meant.namespace).filter(|text| given(text)).map(String::as_str) } else { Some("") };
    let name = Some(&meant.name).filter(|text| given(text)).map(String::as_str);
    let enough = |role: &&stead_trust::Role| {
        let signing = role.keys.iter().filter(|key| keys.contains(key)).count();
        role.kinds.contains(&kind) && role.covers_place(namespace, name) && signing >= role.threshold as usize
    };
    root.roles.iter().find(enough).map(|role| role.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_trust::{Signer as _, SigningKey};

    #[test]
    fn what_the_keys_suffice_for_is_allowed() {
        let key = |seed: u8| SigningKey::from_seed(&[seed; 32]).public_key().clone();
        let mut root = Root::default_for(vec![key(1), key(2)], vec![key(3)], "2026-01-01T00:00:00Z".parse().unwrap());
        root.roles[0].name_prefix = Some("lab-".to_owned());
        root.roles[0].threshold = 1;
        let cases: [(&[u8], &str, &str, &str, bool); 8] = [
            (&[1], "create", "profiles", "lab-1", true),
            (&[1], "create", "profiles", "", false),
            (&[1], "create", "profiles", "web", false),
            (&[4], "create", "profiles", "lab-1", false),
            (&[1], "deletecollection", "profiles", "lab-1", false),
            (&[1], "create", "trustroots", "lab-1", false),
            (&[1], "get", "profiles", "lab-1", false),
            (&[1], "create", "pods", "lab-1", false),
        ];
        for (seeds, verb, resource, name, expected) in cases {
            let keys: Vec<PublicKey> = seeds.iter().map(|seed| key(*seed)).collect();
            let meant = ResourceAttributes {
                verb: verb.to_owned(),
                group: "stead.dev".to_owned(),
                resource: resource.to_owned(),
                name: name.to_owned(),
                namespace: "default".to_owned(),
                ..ResourceAttributes::default()
            };
            let role = signing_role(&root, &keys.iter().collect::<Vec<_>>(), &meant);
            assert_eq!(role.is_some(), expected, "{seeds:?} {verb} {resource} {name}");
        }
        root.roles[0].threshold = 2;
        let meant = ResourceAttributes {
            verb: "delete".to_owned(),
            group: "stead.dev".to_owned(),
            resource: "machines".to_owned(),
            name: "lab-1".to_owned(),
            ..ResourceAttributes::default()
        };
        assert!(signing_role(&root, &[&key(1)], &meant).is_none() && signing_role(&root, &[&key(1), &key(2)], &meant).is_some());
    }
}
