//! What somebody who has logged in may do by plain requests, as the trust root has it.
//!
//! Whoever the root names may read everything. A write is plain where the root leaves the kind to the online keys, or where it stands
//! outside Changes; what owners must sign is answered with no, and with the command that signs it.

use stead_admission::Rule;
use stead_model::{AccessAnswer, AccessQuestion, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule};
use stead_trust::Root;

use crate::discovery::has_status_path;
use crate::path::Route;
use crate::resource::Resource;

/// What reads do.
const READS: &[&str] = &["get", "list", "watch"];
/// What is done to a part of an object that machines write.
const VERBS_OF_STATUS: &[&str] = &["get", "patch", "update"];
/// Everything, in a question.
const ALL: &str = "*";
/// Paths that are no object's.
const PATHS: &[&str] =
    &["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/metrics", "/openapi/*", "/readyz", "/version"];
/// Paths of what Kubernetes has no word for.
const OWN_PATHS: &[&str] = &["/stead/v1/*"];

/// Answers whether a plain request would be let through.
pub(crate) fn answer(root: &Root, question: &AccessQuestion) -> AccessAnswer {
    let refusal = match (&question.resource_attributes, &question.non_resource_attributes) {
        (Some(attributes), _) => refusal_of_objects(root, attributes),
        (None, Some(attributes)) => refusal_of_path(attributes),
        (None, None) => Some("nothing is asked for".to_owned()),
    };
    AccessAnswer { allowed: refusal.is_none(), reason: refusal.unwrap_or_default() }
}

/// Why not, where not everything that is meant is allowed.
fn refusal_of_objects(root: &Root, meant: &ResourceAttributes) -> Option<String> {
    let fits = |wanted: &str, given: &str| wanted == ALL || wanted == given;
    // kubectl names no group where somebody asks about everything.
    let group = if meant.resource == ALL && meant.group.is_empty() { ALL } else { &meant.group };
    let mut resources = Resource::all()
        .filter(|resource| fits(group, resource.group) && fits(&meant.resource, resource.info.plural))
        .filter(|resource| meant.version.is_empty() || fits(&meant.version, resource.version))
        .peekable();
    if resources.peek().is_none() {
        return Some(format!("no resource {:?} is served in the group {:?}", meant.resource, meant.group));
    }
    resources.find_map(|resource| {
        let all = verbs(resource, &meant.subresource);
        let asked = if meant.verb == ALL { all.to_vec() } else { vec![meant.verb.as_str()] };
        if asked.is_empty() {
            return Some(format!("{resource:?} has no subresource {:?}", meant.subresource));
        }
        asked.iter().find_map(|verb| refusal(root, resource, &meant.subresource, verb))
    })
}

/// What is served at all.
fn verbs(resource: Resource, subresource: &str) -> &'static [&'static str] {
    match subresource {
        "" => resource.verbs(),
        "status" if has_status_path(resource) => VERBS_OF_STATUS,
        "bundle" if resource.is_change() => &["get"],
        _ => &[],
    }
}

fn refusal(root: &Root, resource: Resource, subresource: &str, verb: &str) -> Option<String> {
    let served = verbs(resource, subresource);
    if !served.contains(&verb) {
        let part = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
        return Some(format!("{resource:?}{part} does not take {verb:?}, only {}", served.join(", ")));
    }
    if READS.contains(&verb) || subresource == "status" || resource.is_review() {
        return None;
    }
    match Rule::of(root, &resource.info.group_kind()) {
        Rule::Online | Rule::Unsigned => None,
        Rule::ReadOnly => Some("a change is signed before it is sent: stead apply".to_owned()),
        Rule::Root => Some("a version of the trust root carries its own signatures: stead trust rotate".to_owned()),
        Rule::Owner { roles } => {
            let command = if verb.starts_with("delete") { "stead delete" } else { "stead apply" };
            let by = if roles.is_empty() {
                "a role that the trust root does not have yet".to_owned()
            } else {
                format!("role {}", roles.join(" or "))
            };
            Some(format!("must be signed by {by}: {command}"))
        }
    }
}

fn refusal_of_path(meant: &NonResourceAttributes) -> Option<String> {
    let (path, verb) = (meant.path.as_str(), meant.verb.as_str());
    let verbs: &[&str] = match Route::parse(path) {
        Ok(Route::Objects(_)) | Err(_) => return Some(format!("no path {path:?} is served that is no object's")),
        Ok(Route::Stead(_)) => &["get", "post"],
        Ok(_) => &["get"],
    };
    (!verbs.contains(&verb)).then(|| format!("{path} does not take {verb:?}, only {}", verbs.join(", ")))
}

/// Everything that is let through, as rules: resources that take the same stand together.
pub(crate) fn rules(root: &Root) -> (Vec<ResourceRule>, Vec<NonResourceRule>) {
    let mut rules: Vec<ResourceRule> = Vec::new();
    for resource in Resource::all() {
        for subresource in ["", "status", "bundle"] {
            let allowed = verbs(resource, subresource).iter().filter(|verb| refusal(root, resource, subresource, verb).is_none());
            let allowed: Vec<String> = allowed.map(|verb| (*verb).to_owned()).collect();
            let plural = resource.info.plural;
            let name = if subresource.is_empty() { plural.to_owned() } else { format!("{plural}/{subresource}") };
            let group = [resource.group.to_owned()];
            match rules.iter_mut().find(|rule| rule.verbs == allowed && rule.api_groups == group) {
                _ if allowed.is_empty() => {}
                Some(rule) => rule.resources.push(name),
                None => rules.push(ResourceRule {
                    verbs: allowed,
                    api_groups: group.to_vec(),
                    resources: vec![name],
                    resource_names: Vec::new(),
                }),
            }
        }
    }
    let paths = |verbs: &[&str], paths: &[&str]| NonResourceRule {
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        non_resource_urls: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    (rules, vec![paths(&["get"], PATHS), paths(&["get", "post"], OWN_PATHS)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_trust::{Signer as _, SigningKey};

    fn root() -> Root {
        let key = |seed| SigningKey::from_seed(&[seed; 32]).public_key().clone();
        Root::default_for(vec![key(1)], vec![key(2)], jiff::Timestamp::UNIX_EPOCH)
    }

    fn ask(verb: &str, group: &str, resource: &str) -> AccessAnswer {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = ResourceAttributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            ..ResourceAttributes::default()
        };
        answer(&root(), &AccessQuestion { resource_attributes: Some(attributes), non_resource_attributes: None })
    }

    #[test]
    fn reads_are_open_and_writes_are_as_the_root_says() {
        let cases = [
            ("get", "stead.dev", "machines", Ok(())),
            ("watch", "stead.dev", "changes", Ok(())),
            ("list", "*", "events", Ok(())),
            ("create", "", "namespaces", Ok(())),
            ("update", "coordination.k8s.io", "leases", Ok(())),
            ("patch", "stead.dev", "machines/status", Ok(())),
            ("get", "stead.dev", "changes/bundle", Ok(())),
            ("create", "authorization.k8s.io", "selfsubjectaccessreviews", Ok(())),
            ("create", "stead.dev", "profiles", Err("must be signed by role owners: stead apply")),
            ("delete", "stead.dev", "machines", Err("must be signed by role owners: stead delete")),
            ("create", "stead.dev", "changes", Err("stead apply")),
            ("create", "stead.dev", "trustroots", Err("stead trust rotate")),
            ("delete", "stead.dev", "changes", Err("does not take \"delete\"")),
            ("deletecollection", "", "namespaces", Err("does not take")),
            ("impersonate", "", "namespaces", Err("does not take")),
            ("get", "", "pods", Err("no resource \"pods\"")),
            ("get", "", "namespaces/finalize", Err("does not take")),
            ("*", "", "namespaces/finalize", Err("no subresource")),
            ("*", "coordination.k8s.io", "leases", Ok(())),
            ("*", "*", "*", Err("must be signed")),
            ("*", "", "*", Err("must be signed")),
        ];
        for (verb, group, resource, expected) in cases {
            let answer = ask(verb, group, resource);
            assert_eq!(answer.allowed, expected.is_ok(), "{verb} {group} {resource}: {}", answer.reason);
            assert!(expected.is_ok() || answer.reason.contains(expected.unwrap_err()), "{}", answer.reason);
        }
    }

    #[test]
    fn paths_are_asked_for_as_well() {
        for (path, verb, allowed) in [
            ("/healthz", "get", true),
            ("/openapi/v3", "get", true),
            ("/stead/v1/ticket", "post", true),
            ("/healthz", "delete", false),
            ("/metrics", "get", true),
            ("/logs", "get", false),
            ("/api/v1/namespaces", "get", false),
        ] {
            let attributes = NonResourceAttributes { path: path.into(), verb: verb.into() };
            let question = AccessQuestion { non_resource_attributes: Some(attributes), resource_attributes: None };
            assert_eq!(answer(&root(), &question).allowed, allowed, "{verb} {path}");
        }
    }

    #[test]
    fn what_the_rules_list_is_what_is_answered() {
        let (rules, _) = rules(&root());
        for rule in &rules {
            for (verb, resource) in rule.verbs.iter().flat_map(|verb| rule.resources.iter().map(move |name| (verb, name))) {
                assert!(ask(verb, &rule.api_groups[0], resource).allowed, "{verb} {resource}");
            }
        }
        let lists = |verb: &str, resource: &str| {
            rules
                .iter()
                .any(|rule| rule.verbs.iter().any(|have| have == verb) && rule.resources.iter().any(|have| have == resource))
        };
        assert!(lists("get", "profiles") && lists("update", "machines/status") && lists("deletecollection", "leases"));
        assert!(!lists("create", "profiles"));
    }
}
