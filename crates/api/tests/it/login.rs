//! Login, what is signed elsewhere, and the documents of the record.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stead_model::Object;
use stead_trust::{Authorship, Login, Root, Salt, SignedLogin, SignedRoot, Signer, SigningKey, StatementBuilder};

use crate::fixture::{Fixture, Wish, profile};

async fn sign_in(fixture: &Fixture, key: &SigningKey) -> (SignedLogin, u16, Value) {
    let challenge = fixture.get("/stead/v1/login").await.expect(200);
    let login = Login {
        fleet: serde_json::from_value(challenge["fleet"].clone()).unwrap(),
        time: Timestamp::now(),
        coordinator: serde_json::from_value(challenge["coordinator"].clone()).unwrap(),
        nonce: challenge["nonce"].as_str().unwrap().to_owned(),
    };
    let signed = SignedLogin::sign(&login, key).unwrap();
    let reply = fixture.post("/stead/v1/login", &serde_json::to_value(&signed).unwrap()).await;
    (signed, reply.code, reply.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_get_a_token_and_others_do_not() {
    let fixture = Fixture::start(Wish::default()).await;
    let (signed, code, answer) = sign_in(&fixture, &fixture.owner).await;
    assert_eq!(code, 200, "{answer}");
    let until: Timestamp = answer["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    assert!(until > Timestamp::now());
    let client = reqwest::Client::new();
    let url = format!("http://{}/api/v1/namespaces", fixture.plain_address);
    assert_eq!(client.get(&url).bearer_auth(answer["token"].as_str().unwrap()).send().await.unwrap().status(), 200);
    let again = fixture.post("/stead/v1/login", &serde_json::to_value(&signed).unwrap()).await.expect(401);
    assert!(again["message"].as_str().unwrap().contains("nonce"), "{again}");
    let (_, code, answer) = sign_in(&fixture, &SigningKey::from_seed(&[9; 32])).await;
    assert_eq!(code, 401);
    assert!(answer["message"].as_str().unwrap().contains("no owner"), "{answer}");
    fixture.post("/stead/v1/login", &json!({"document": "{}", "signature": "x"})).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_change_is_taken_and_kept() {
    let fixture = Fixture::start(Wish::default()).await;
    let names = json!([{"apiVersion": "stead.dev/v1", "kind": "Profile", "name": "web"}]);
    let sequences = fixture.post("/stead/v1/sequences", &names).await.expect(200);
    assert_eq!(sequences[0]["sequence"], 0);
    let now = Timestamp::now();
    let author = Authorship::Person { author: fixture.owner.public_key().clone() };
    let id = fixture.admission.environment().new_id();
    let later = now + SignedDuration::from_hours(1);
    let mut builder = StatementBuilder::new(fixture.admission.fleet(), &id, now, later, "hello", author);
    let object: Object = serde_json::from_value(profile("web")).unwrap();
    builder.put(&object, 1, Salt::from_bytes([3; 32])).unwrap();
    let submission = serde_json::to_value(builder.build().unwrap().sign(&[&fixture.owner]).unwrap()).unwrap();
    fixture.post("/apis/stead.dev/v1/changes?dryRun=All", &submission).await.expect(200);
    let change = fixture.post("/apis/stead.dev/v1/changes", &submission).await.expect(201);
    let name = change["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(change["spec"]["entries"][0]["object"], "Profile/web");
    fixture.get("/apis/stead.dev/v1/profiles/web").await.expect(200);
    assert_eq!(fixture.post("/stead/v1/sequences", &names).await.expect(200)[0]["sequence"], 1);
    let taken = fixture.post("/apis/stead.dev/v1/changes", &submission).await.expect(409);
    assert_eq!(taken["details"]["causes"][0]["reason"], "NeedsSigning");

    assert_eq!(fixture.get(&format!("/apis/stead.dev/v1/changes/{name}")).await.expect(200), change);
    let bundle: stead_trust::Bundle =
        serde_json::from_value(fixture.get(&format!("/apis/stead.dev/v1/changes/{name}/bundle")).await.expect(200)).unwrap();
    assert_eq!(bundle.entries.len(), 1);
    let first = fixture.get("/apis/stead.dev/v1/changes?limit=1").await.expect(200);
    assert_eq!(first["items"][0]["metadata"]["name"], name.as_str());
    let rest = fixture
        .get(&format!("/apis/stead.dev/v1/changes?limit=1&continue={}", first["metadata"]["continue"].as_str().unwrap()))
        .await;
    assert_ne!(rest.expect(200)["items"][0]["metadata"]["name"], name.as_str());
    fixture.send("DELETE", &format!("/apis/stead.dev/v1/changes/{name}"), &[], "").await.expect(403);
    fixture.get("/apis/stead.dev/v1/changes/nothing").await.expect(404);
    fixture.post("/apis/stead.dev/v1/changes", &json!({})).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_root_counts_at_once() {
    let fixture = Fixture::start(Wish::default()).await;
    let described = fixture.get("/stead/v1/fleet").await.expect(200);
    assert_eq!(described["fleet"], fixture.admission.fleet().to_string());
    assert_eq!(described["roots"].as_array().unwrap().len(), 1);
    let mut next: Root = fixture.admission.root().next_version(Timestamp::now()).unwrap();
    next.fleet = Some(fixture.admission.fleet());
    next.online.kinds.push(stead_model::GroupKind::new("stead.dev", "Profile"));
    let signed = SignedRoot::sign(&next, &[&fixture.owner]).unwrap();
    let spec = json!({"document": String::from_utf8(signed.document).unwrap(), "signatures": signed.signatures});
    fixture.post("/apis/stead.dev/v1/profiles", &profile("web")).await.expect(403);
    let made = fixture.post("/apis/stead.dev/v1/trustroots", &json!({"spec": spec})).await.expect(201);
    assert_eq!(made["metadata"]["name"], "v2");
    fixture.post("/apis/stead.dev/v1/profiles", &profile("web")).await.expect(201);
    fixture.get("/apis/stead.dev/v1/trustroots/v2").await.expect(200);
    assert_eq!(fixture.get("/apis/stead.dev/v1/trustroots").await.expect(200)["items"].as_array().unwrap().len(), 2);
    fixture.post("/stead/v1/ticket", &json!({"a": 1})).await.expect(200);
    let plan = fixture.post("/stead/v1/plan", &json!({})).await.expect(400);
    assert_eq!(plan["message"], "no machine is connected");
}
