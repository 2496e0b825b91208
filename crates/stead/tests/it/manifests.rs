//! Bad manifests are refused whole, before anything is sent.

use crate::stead::Home;

const GOOD: &str = "apiVersion: stead.dev/v1\nkind: Profile\nmetadata: {name: web}\nspec: {selector: {}}\n";

#[test]
fn each_names_the_file_the_document_the_field_and_what_was_expected() {
    let home = Home::new();
    let cases = [
        (
            format!("{GOOD}---\n{}", GOOD.replace("spec: {", "spec: {filez: [], ")),
            "a.yaml, document 2 (line 6): Profile \"web\" is invalid: spec.filez: unknown field",
        ),
        (GOOD.replace("{}}", "{}, files: [{path: 5}]}"), "spec.files[0].path: Invalid value: 5: expected string, found number"),
        (GOOD.replace("web", "Web"), "metadata.name: Invalid value"),
        (GOOD.replace("Profile", "Pod"), "\"Pod\" of \"stead.dev/v1\" is no kind that Stead knows"),
        (GOOD.replace("kind: Profile", "kind: Change"), "a.yaml"),
        ("a: [\n".to_owned(), "a.yaml"),
        (String::new(), "there is no object in a.yaml"),
        (format!("{GOOD}---\n{GOOD}"), "Profile/web stands in a.yaml, document 1 (line 1) already"),
    ];
    for (text, expected) in cases {
        home.write("a.yaml", &text);
        for command in ["apply", "diff"] {
            // The coordinator is nowhere: it is not asked.
            let error = home.stead(&[command, "-f", "a.yaml", "--server", "http://127.0.0.1:1"]).fails(2);
            assert!(error.contains(expected), "{command}: {expected:?} is not in\n{error}");
        }
    }
}

#[test]
fn folders_and_standard_input() {
    let home = Home::new();
    home.write("empty/readme.txt", "");
    assert!(home.stead(&["apply", "-f", "empty"]).fails(2).contains("the folder empty has no .yaml, .yml or .json file"));
    home.write("fleet/a.yaml", GOOD);
    home.write("fleet/b.json", "{\"kind\": 5}");
    assert!(home.stead(&["apply", "-f", "fleet"]).fails(2).contains("fleet/b.json: a manifest is an object"));
    let error = home.stead_with(&["apply", "-f", "-"], "x").fails(2);
    assert!(error.contains("standard input: a manifest is an object"), "{error}");
}
