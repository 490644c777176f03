use super::{errors_document, gateway_document, platform_document};
use crate::gateway::code::Code;
use std::collections::BTreeSet;
use std::path::Path;
use utoipa::openapi::{OpenApi, RefOr};

/// Scenario: the code changes and a document is forgotten.
/// Guarantees: the committed documents are what the code says.
#[test]
fn the_documents_stand_as_the_code_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let json = |document: OpenApi| document.to_pretty_json().expect("a document is JSON") + "\n";
    for (name, text) in [
        ("gateway.openapi.json", json(gateway_document())),
        ("platform.openapi.json", json(platform_document())),
        ("errors.md", errors_document()),
    ] {
        let path = folder.join(name);
        if std::env::var_os("TALLY_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(&folder).expect("the folder can be made");
            std::fs::write(&path, &text).expect("a document can be written");
        }
        let stands = std::fs::read_to_string(&path).expect("a document can be read");
        assert!(stands == text, "{name} is not what the code says: run this test with TALLY_WRITE_DOCS=1");
    }
}

/// Scenario: a code is added, and no call of the document has it.
/// Guarantees: callers find every code that they can get in the document; every reference leads somewhere; what moves money
/// needs a key.
#[test]
fn the_documents_are_whole() {
    let gateway = gateway_document();
    let text = gateway.to_json().expect("a document is JSON");
    // this one is answered to another method
    for code in Code::ALL.iter().filter(|code| **code != Code::MethodNotAllowed) {
        assert!(text.contains(&format!("`{}`", code.name())), "{} stands at no call", code.name());
    }
    for document in [gateway, platform_document()] {
        let text = document.to_json().expect("a document is JSON");
        for code in Code::ALL {
            let schema = document.components.as_ref().and_then(|all| all.schemas.get("Code"));
            let schema = serde_json::to_string(&schema).expect("JSON");
            assert!(schema.contains(&format!("\"{}\"", code.name())), "{} is no name of a code", code.name());
        }
        let known: BTreeSet<&String> =
            document.components.iter().flat_map(|all| all.schemas.keys()).collect();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default().to_owned();
            assert!(known.contains(&name), "{name} is no schema of {}", document.info.title);
        }
        for (path, item) in &document.paths.paths {
            let Some(operation) = item.post.as_ref() else {
                assert_eq!(path, "/flows/{id}", "calls are POST");
                continue;
            };
            let has_key = operation.parameters.iter().flatten().any(|parameter| match parameter {
                RefOr::T(parameter) => parameter.name == "Idempotency-Key",
                RefOr::Ref(_) => false,
            });
            let reads = ["/credits/estimate", "/licenses/check"].contains(&path.as_str());
            let commands = path.starts_with("/flows/{id}/"); // a flow takes each of them once
            assert_eq!(has_key, !reads && !commands, "{path}");
        }
    }
}
