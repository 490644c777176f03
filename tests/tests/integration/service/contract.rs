//! The generated document against the running service.

use super::platform::platform;
use tally_dashboards::identity::Role;
use tally_tests::python;
use tally_tests::service::Service;

/// Scenario: schemathesis, which knows nothing but the document, asks every operation with generated values, valid and not.
/// Guarantees: no answer of 5xx, none with a status, a media type or a shape that the document does not have.
#[test]
fn what_is_answered_is_what_is_documented() {
    let database = platform();
    let service =
        Service::start(&database, &["--requests-per-s-max", "10000", "--requests-burst-max", "10000"]);
    let token = service.token(Role::Admin, "ops");
    let document = format!("{}/api/v1/openapi.json", service.url);
    let ended = python::run("explore_api.py", &[&document, &token], "");
    assert!(ended.stdout.contains("operations"), "{}", ended.stdout);
}
