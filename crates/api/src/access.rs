//! What somebody who has logged in may do by plain requests, as the trust root has it.
//!
//! Whoever the root names may read everything. A write is plain where the root leaves the kind to the online keys, or where it stands
//! outside Changes; what owners must sign is answered with no, and with the command that signs it.

use stead_admission::Rule;
use stead_model::{
    AccessAnswer, AccessQuestion, NonResourceAttributes, NonResourceRule, ObjectKey, ResourceAttributes, ResourceRule,
};
use stead_trust::{PublicKey, Role, Root};

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
    &["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/metrics", "/metrics/*", "/openapi/*", "/readyz", "/version"];
/// Paths of what Kubernetes has no word for.
const OWN_PATHS: &[&str] = &["/stead/v1/*"];

/// Who asks, under which root, and about what.
#[derive(Clone, Copy)]
struct Asked<'a> {
    root: &'a Root,
    /// The key of whoever asks; `None` where it is nobody's question.
    key: Option<&'a PublicKey>,
    /// `None` for all of them.
    namespace: Option<&'a str>,
    /// `None` for every name.
    name: Option<&'a str>,
}

/// Answers whether a plain request would be let through. Where owners must sign, the reason says who may sign for that namespace and name,
/// and whether the one who asks may.
pub(crate) fn answer(root: &Root, key: Option<&PublicKey>, question: &AccessQuestion) -> AccessAnswer {
    let refusal = match (&question.resource_attributes, &question.non_resource_attributes) {
        (Some(attributes), _) => {
            let namespace = Some(attributes.namespace.as_str()).filter(|namespace| !namespace.is_empty());
            let name = Some(attributes.name.as_str()).filter(|name| !name.is_empty());
            refusal_of_objects(Asked { root, key, namespace, name }, attributes)
        }
        (None, Some(attributes)) => refusal_of_path(attributes),
        (None, None) => Some("nothing is asked for".to_owned()),
    };
    AccessAnswer { allowed: refusal.is_none(), reason: refusal.unwrap_or_default() }
}

/// Why not, where not everything that is meant is allowed.
fn refusal_of_objects(asked: Asked<'_>, meant: &ResourceAttributes) -> Option<String> {
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
        let verbs = if meant.verb == ALL { all.to_vec() } else { vec![meant.verb.as_str()] };
        if verbs.is_empty() {
            return Some(format!("{resource:?} has no subresource {:?}", meant.subresource));
        }
        verbs.iter().find_map(|verb| refusal(asked, resource, &meant.subresource, verb))
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

fn refusal(asked: Asked<'_>, resource: Resource, subresource: &str, verb: &str) -> Option<String> {
    let served = verbs(resource, subresource);
    if !served.contains(&verb) {
        let part = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
        return Some(format!("{resource:?}{part} does not take {verb:?}, only {}", served.join(", ")));
    }
    if READS.contains(&verb) || subresource == "status" || resource.is_review() {
        return None;
    }
    match Rule::of(asked.root, &resource.info.group_kind()) {
        Rule::Online | Rule::Unsigned => None,
        Rule::ReadOnly => Some("a change is signed before it is sent: stead apply".to_owned()),
        Rule::Root => Some("a version of the trust root carries its own signatures: stead trust rotate".to_owned()),
        Rule::Owner { .. } => {
            Some(who_signs(asked, resource, if verb.starts_with("delete") { "stead delete" } else { "stead apply" }))
        }
    }
}

/// Who must sign for what is asked about, and with what.
fn who_signs(asked: Asked<'_>, resource: Resource, command: &str) -> String {
    let kind = resource.info.group_kind();
    let of_kind: Vec<&Role> = asked.root.roles.iter().filter(|role| role.kinds.contains(&kind)).collect();
    if of_kind.is_empty() {
        return format!("must be signed by a role that the trust root does not have yet: {command}");
    }
    // Clients name their namespace where they ask about what is in none.
    let namespace = if resource.info.namespaced { asked.namespace } else { Some("") };
    let covering: Vec<&Role> = of_kind.iter().copied().filter(|role| role.covers_place(namespace, asked.name)).collect();
    if covering.is_empty() {
        let object = ObjectKey::new(
            kind,
            asked.namespace.filter(|_| resource.info.namespaced).unwrap_or_default(),
            asked.name.unwrap_or(ALL),
        );
        let parts: Vec<String> = of_kind.iter().map(|role| extent(role, resource.info.namespaced)).collect();
        return format!("no role covers {object}, only {}: {command}", parts.join(", "));
    }
    let own: Vec<&Role> = covering.iter().copied().filter(|role| asked.key.is_none_or(|key| role.keys.contains(key))).collect();
    if own.is_empty() {
        return format!("must be signed by {}, which your key is not in: stead propose", names(&covering));
    }
    match own.iter().map(|role| role.threshold).min() {
        Some(threshold @ 2..) => format!("must be signed by {threshold} keys of {}: stead propose", names(&own)),
        _ => format!("must be signed by {}: {command}", names(&covering)),
    }
}

fn names(roles: &[&Role]) -> String {
    format!("role {}", roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(" or "))
}

/// What a role covers of a kind.
fn extent(role: &Role, namespaced: bool) -> String {
    match &role.name_prefix {
        Some(prefix) if !namespaced => format!("role {} (names {prefix}*)", role.name),
        _ if namespaced => format!("role {} (namespaces {})", role.name, role.namespaces.join(" ")),
        _ => format!("role {} (no objects of cluster scope)", role.name),
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
    let asked = Asked { root, key: None, namespace: None, name: None };
    for resource in Resource::all() {
        for subresource in ["", "status", "bundle"] {
            let allowed =
                verbs(resource, subresource).iter().filter(|verb| refusal(asked, resource, subresource, verb).is_none());
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

    fn key(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public_key().clone()
    }

    fn root() -> Root {
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
        let question = AccessQuestion { resource_attributes: Some(attributes), non_resource_attributes: None };
        answer(&root(), Some(&key(1)), &question)
    }

    #[test]
    fn names_and_namespaces_say_who_signs() {
        let mut root = root();
        let machine = stead_model::GroupKind::new("stead.dev", "Machine");
        let role = |name: &str, seed: u8, threshold: u32, prefix: Option<&str>, namespaces: &[&str]| Role {
            name: name.into(),
            keys: vec![key(seed), key(seed + 1)],
            threshold,
            kinds: vec![machine.clone(), stead_model::GroupKind::new("", "Namespace")],
            namespaces: namespaces.iter().map(|namespace| (*namespace).to_owned()).collect(),
            name_prefix: prefix.map(str::to_owned),
            machine_selector: None,
            fact_labels: false,
        };
        root.online.kinds.clear();
        root.roles = vec![role("east", 3, 1, Some("east-"), &[""]), role("west", 5, 2, Some("west-"), &["*"])];
        let cases = [
            ("east-1", 3, "must be signed by role east: stead delete"),
            ("east-1", 5, "must be signed by role east, which your key is not in: stead propose"),
            ("west-1", 5, "must be signed by 2 keys of role west: stead propose"),
            (
                "north-1",
                3,
                "no role covers Machine/north-1, only role east (names east-*), role west (names west-*): stead delete",
            ),
            ("", 3, "no role covers Machine/*, only role east (names east-*), role west"),
        ];
        for (name, seed, expected) in cases {
            let meant = ResourceAttributes {
                verb: "delete".into(),
                group: "stead.dev".into(),
                resource: "machines".into(),
                name: name.into(),
                // kubectl sends the namespace of its context.
                namespace: "default".into(),
                ..ResourceAttributes::default()
            };
            let question = AccessQuestion { resource_attributes: Some(meant), non_resource_attributes: None };
            let answer = answer(&root, Some(&key(seed)), &question);
            assert!(!answer.allowed && answer.reason.contains(expected), "{name}: {}", answer.reason);
        }
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
            ("/metrics/machines", "get", true),
            ("/logs", "get", false),
            ("/api/v1/namespaces", "get", false),
        ] {
            let attributes = NonResourceAttributes { path: path.into(), verb: verb.into() };
            let question = AccessQuestion { non_resource_attributes: Some(attributes), resource_attributes: None };
            assert_eq!(answer(&root(), None, &question).allowed, allowed, "{verb} {path}");
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
