//! The paths of the API.

use stead_model::KindInfo;

/// The path of a kind's objects; an empty namespace means all of them.
pub(crate) fn collection(info: &KindInfo, namespace: &str) -> String {
    let base =
        if info.group.is_empty() { format!("/api/{}", info.version) } else { format!("/apis/{}/{}", info.group, info.version) };
    if info.namespaced && !namespace.is_empty() {
        format!("{base}/namespaces/{}/{}", segment(namespace), info.plural)
    } else {
        format!("{base}/{}", info.plural)
    }
}

/// The path of one object.
pub(crate) fn object(info: &KindInfo, namespace: &str, name: &str) -> String {
    format!("{}/{}", collection(info, namespace), segment(name))
}

/// A query, each value escaped; empty values are left out.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={}", segment(value))).collect::<Vec<_>>().join("&")
}

/// Percent-encodes what is not unreserved (RFC 3986 section 2.3), so that a name typed wrongly stays one segment.
fn segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::registry;

    #[test]
    fn paths_are_those_of_kubernetes() {
        let of = |word: &str| registry().by_word(word).unwrap();
        assert_eq!(collection(of("machine"), "default"), "/apis/stead.dev/v1/machines");
        assert_eq!(object(of("namespace"), "", "a"), "/api/v1/namespaces/a");
        assert_eq!(object(of("event"), "default", "a/../b"), "/api/v1/namespaces/default/events/a%2F..%2Fb");
        assert_eq!(query(&[("a", "x=1,y"), ("b", "")]), "a=x%3D1%2Cy");
    }
}
