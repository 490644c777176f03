//! The rules of Prometheus by themselves: sound, complete in what they say, and held by tests that can fail.

use std::fs;

use serde_json::{Value, json};
use tally_tests::prometheus::{promtool, yaml_files};
use tally_tests::{Prometheus, TempFolder, skip_without};

/// Who is woken, who looks the same day, who is told.
const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// Every rule: file, position among the rules of its group, and itself.
fn rules(files: &[(String, Value)]) -> Vec<(String, usize, Value)> {
    let mut all = Vec::new();
    for (file, content) in files {
        let groups = content["groups"].as_array().expect("groups");
        assert_eq!(
            groups.len(),
            1,
            "{file}: groups run side by side, so alerts would not see what is recorded"
        );
        let rules = groups[0]["rules"].as_array().expect("rules").iter().enumerate();
        all.extend(rules.map(|(at, rule)| (file.clone(), at, rule.clone())));
    }
    all
}

/// Scenario: promtool reads configuration and rules and runs their unit tests.
/// Guarantees: all are sound; each alert says how urgent it is, how long it waits, what it means and what to do; names are unique.
#[test]
fn rules_are_sound_and_say_what_to_do() {
    if skip_without(Prometheus::installed()) {
        return;
    }
    let home = Prometheus::home();
    let files = yaml_files(&home.join("rules"));
    let rules_of: Vec<String> = files.iter().map(|(name, _)| format!("rules/{name}")).collect();
    let tests_of: Vec<String> = files.iter().map(|(name, _)| format!("tests/{name}")).collect();
    let with = |command: [&'static str; 2], files: &[String]| {
        let arguments: Vec<&str> = command.into_iter().chain(files.iter().map(String::as_str)).collect();
        let ended = promtool(&home, &arguments);
        assert!(ended.status.success(), "{arguments:?}\n{}\n{}", ended.stdout, ended.stderr);
    };
    with(["check", "config"], &["prometheus.yml".to_owned()]);
    with(["check", "rules"], &rules_of);
    with(["test", "rules"], &tests_of);
    let mut names = Vec::new();
    for (file, _, rule) in rules(&files) {
        let Some(name) = rule["alert"].as_str() else {
            names.push(rule["record"].as_str().expect("an alert or a record").to_owned());
            continue;
        };
        names.push(name.to_owned());
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(SEVERITIES.contains(&severity), "{file}: {name} is as urgent as '{severity}'");
        assert!(rule["for"].is_string(), "{file}: {name} says for how long");
        for part in ["summary", "description", "action"] {
            let said = rule["annotations"][part].as_str().unwrap_or_default();
            assert!(said.len() > 20, "{file}: {name} has a {part}");
        }
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "each name once");
}

/// Whether the rules of a file pass its tests, both as they are given.
fn passes(file: &str, rules: &Value, tests: &Value) -> bool {
    let folder = TempFolder::new("rules");
    for (part, content) in [("rules", rules), ("tests", tests)] {
        fs::create_dir(folder.path().join(part)).expect("a folder can be made");
        // JSON is YAML
        fs::write(folder.path().join(part).join(file), content.to_string()).expect("a file can be written");
    }
    promtool(folder.path(), &["test", "rules", &format!("tests/{file}")]).status.success()
}

/// Scenario: each alert in turn never fires, and fires always; each figure in turn is something else.
/// Guarantees: the unit tests find every one of these, so each rule is held from both sides.
#[test]
fn the_tests_of_the_rules_can_fail() {
    if skip_without(Prometheus::installed()) {
        return;
    }
    let home = Prometheus::home();
    let files = yaml_files(&home.join("rules"));
    let mut mutants = Vec::new();
    for (file, at, rule) in rules(&files) {
        let others: &[&str] =
            if rule["alert"].is_string() { &["vector(1) > 1", "vector(1)"] } else { &["vector(-7)"] };
        mutants.extend(others.iter().map(|other| (file.clone(), at, *other)));
    }
    assert!(mutants.len() > 80, "{} mutants", mutants.len());
    let tests = yaml_files(&home.join("tests"));
    // as it is written for a mutant each file is sound: what is noticed is the mutation
    for ((file, rules), (_, test)) in files.iter().zip(&tests) {
        assert!(passes(file, rules, test), "{file} does not pass as JSON");
    }
    let survives = |(file, at, other): &(String, usize, &str)| -> Option<String> {
        let of = |files: &[(String, Value)]| {
            files.iter().find(|(name, _)| name == file).expect("a file").1.clone()
        };
        let (mut rules, all) = (of(&files), of(&tests));
        let rule = &mut rules["groups"][0]["rules"][*at];
        rule["expr"] = json!(other);
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap_or_default().to_owned();
        // those that name the rule notice most: the others are run only where they do not
        let mut naming = all.clone();
        naming["tests"].as_array_mut().expect("tests").retain(|one| one.to_string().contains(&name));
        (passes(file, &rules, &naming) && passes(file, &rules, &all)).then(|| format!("{name} as {other}"))
    };
    let half = mutants.len() / 2;
    let alive = |some: &[(String, usize, &'static str)]| some.iter().filter_map(survives).collect::<Vec<_>>();
    let survivors: Vec<String> = std::thread::scope(|scope| {
        let first = scope.spawn(|| alive(&mutants[..half]));
        let second = alive(&mutants[half..]);
        [first.join().expect("a thread"), second].concat()
    });
    assert!(survivors.is_empty(), "nothing notices {survivors:#?}");
}
