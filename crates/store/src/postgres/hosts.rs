//! Several servers in one URL, as libpq has it: `postgres://USER@db1,db2:5433/DATABASE`, or lists in `host=` and `port=`.

/// A URL in three pieces: what comes before the servers, the servers, and what comes after them.
pub fn split_authority(url: &str) -> Option<(&str, &str, &str)> {
    let scheme = url.find("://")?.saturating_add(3);
    let rest = url.get(scheme..)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let user = rest.get(..end)?.rfind('@').map_or(0, |at| at.saturating_add(1));
    let (begin, end) = (scheme.saturating_add(user), scheme.saturating_add(end));
    Some((url.get(..begin)?, url.get(begin..end)?, url.get(end..)?))
}

/// One URL for each server that a URL names, in their order.
///
/// # Errors
///
/// What is wrong with it; nothing of the URL is repeated.
pub fn each_server(url: &str) -> Result<Vec<String>, String> {
    let (before, servers, after) = split_authority(url).ok_or("it does not start with postgres://")?;
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let value = |wanted: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value.replace("%2C", ",").replace("%2c", ",")).next_back()
    };
    let (hosts, ports) = (value("host"), value("port"));
    if !servers.contains(',') && ![&hosts, &ports].into_iter().flatten().any(|list| list.contains(',')) {
        return Ok(vec![url.to_owned()]);
    }
    let others: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("host=") && !pair.starts_with("port=")).collect();
    let named: Vec<(String, Option<String>)> = match &hosts {
        Some(hosts) => hosts.split(',').map(|host| (host.to_owned(), None)).collect(),
        None => servers.split(',').map(host_and_port).collect(),
    };
    let ports: Vec<&str> = ports.as_deref().map_or_else(Vec::new, |ports| ports.split(',').collect());
    if ports.len() > 1 && ports.len() != named.len() {
        return Err(format!("it names {} servers and {} ports", named.len(), ports.len()));
    }
    if named.iter().any(|(host, _)| host.is_empty()) {
        return Err("the name of a server is empty".to_owned());
    }
    let one = |(number, (host, own)): (usize, &(String, Option<String>))| {
        let port = ports.get(number).or(ports.first()).map(|port| (*port).to_owned()).or_else(|| own.clone());
        let mut pairs: Vec<String> = others.iter().map(|pair| (*pair).to_owned()).collect();
        let server = if hosts.is_some() {
            pairs.push(format!("host={host}"));
            "localhost"
        } else {
            host
        };
        pairs.extend(port.map(|port| format!("port={port}")));
        let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
        format!("{before}{server}{path}{query}")
    };
    Ok(named.iter().enumerate().map(one).collect())
}

/// A host, which may be an IPv6 address in brackets, and its port.
fn host_and_port(server: &str) -> (String, Option<String>) {
    match server.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host.to_owned(), Some(port.to_owned())),
        _ => (server.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_for_each_server() {
        let cases: &[(&str, &[&str])] = &[
            ("postgres://a@db/fleet?sslmode=require", &["postgres://a@db/fleet?sslmode=require"]),
            (
                "postgres://a:p@db1,db2:5433/fleet?sslmode=require",
                &["postgres://a:p@db1/fleet?sslmode=require", "postgres://a:p@db2/fleet?sslmode=require&port=5433"],
            ),
            (
                "postgres://a@[fd00::1]:1,[fd00::2]/fleet",
                &["postgres://a@[fd00::1]/fleet?port=1", "postgres://a@[fd00::2]/fleet"],
            ),
            (
                "postgres://a@localhost/fleet?host=/a,/b&port=1,2",
                &["postgres://a@localhost/fleet?host=/a&port=1", "postgres://a@localhost/fleet?host=/b&port=2"],
            ),
            (
                "postgres://a@localhost/fleet?host=/a%2C/b&port=7",
                &["postgres://a@localhost/fleet?host=/a&port=7", "postgres://a@localhost/fleet?host=/b&port=7"],
            ),
        ];
        for (url, servers) in cases {
            assert_eq!(each_server(url).unwrap(), *servers, "{url}");
        }
        for url in ["postgres://a@x,y,z/fleet?port=1,2", "postgres://a@x,/fleet", "no url"] {
            each_server(url).unwrap_err();
        }
    }
}
