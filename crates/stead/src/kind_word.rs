//! What a person means by KIND and NAME.

use stead_model::{KindInfo, registry};

use crate::failure::Failure;

/// A kind and the names after it; `KIND/NAME` is one word for both.
pub(crate) struct Wanted {
    pub(crate) info: &'static KindInfo,
    pub(crate) names: Vec<String>,
}

/// Reads `KIND NAME...`, `KIND/NAME...` or both.
pub(crate) fn wanted(kind: &str, names: &[String]) -> Result<Wanted, Failure> {
    let (word, first) = kind.split_once('/').map_or((kind, None), |(word, name)| (word, Some(name)));
    let info = info(word)?;
    let mut all: Vec<String> = first.into_iter().map(str::to_owned).collect();
    for name in names {
        match name.split_once('/') {
            Some((other, name)) if self::info(other)?.kind == info.kind => all.push(name.to_owned()),
            Some(_) => {
                return Err(Failure::user(format!("{name} is not of the kind {}; one kind at a time", info.kind)));
            }
            None => all.push(name.clone()),
        }
    }
    if all.iter().any(String::is_empty) {
        return Err(Failure::user(format!("a name of the kind {} is empty", info.kind)));
    }
    Ok(Wanted { info, names: all })
}

/// The kind that a word means.
pub(crate) fn info(word: &str) -> Result<&'static KindInfo, Failure> {
    registry().by_word(word).ok_or_else(|| {
        let known: Vec<&str> = registry().iter().map(|info| info.plural).collect();
        Failure::user(format!("there is no kind {word:?}")).hint(format!("There are {}.", known.join(", ")))
    })
}

/// The namespace that requests for a kind name: none for kinds of cluster scope.
pub(crate) fn namespace_of<'a>(info: &KindInfo, namespace: &'a str) -> &'a str {
    if info.namespaced { namespace } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names() {
        let names = |kind: &str, rest: &[&str]| {
            let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
            wanted(kind, &rest)
                .map(|wanted| (wanted.info.kind, wanted.names))
                .map_err(|failure| failure.render(crate::terminal::Terminal::plain()))
        };
        assert_eq!(names("mc", &[]).unwrap(), ("Machine", vec![]));
        assert_eq!(names("machine/a", &["b", "machines/c"]).unwrap(), ("Machine", vec!["a".into(), "b".into(), "c".into()]));
        assert!(names("machine/a", &["profile/c"]).unwrap_err().contains("one kind at a time"));
        assert!(names("machin", &[]).unwrap_err().contains("There are machines, profiles"));
        assert!(names("machine/", &[]).unwrap_err().contains("is empty"));
    }
}
