//! Proofs, checkpoints, lists of heads and keys that somebody else wrote.

use super::checkpoint::{Checkpoint, Head, Lane, body, checkpoint, claim, heads_from, heads_text};
use super::keys::{Keys, Signers, generate_key};
use super::leaf::{Kind, leaf};
use super::tree::leaf_hash;
use super::{SealError, check_proof, proof};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tally_fuzz::{Target, fuzz, outcome};
use uuid::Uuid;

/// A log of three partitions, signed, and what is known of it.
struct Sealed {
    keys: Keys,
    signers: Signers,
    heads: Vec<Head>,
    note: Vec<u8>,
}

fn sealed() -> Sealed {
    let (private, public) = generate_key("log.test").expect("a key");
    let (signers, keys) =
        (Signers::parse(&[private]).expect("a signer"), Keys::parse(&[public]).expect("a key"));
    let head = |partition: i32| Head {
        lane: Lane { topic: "task-events".to_owned(), topic_id: Uuid::from_u128(7), partition },
        next: 3,
        size: 3,
        appended_at_ms: 1_800_000_000_000,
        root: leaf_hash(&[&partition.to_le_bytes()]),
    };
    let heads: Vec<Head> = (0..3).map(head).collect();
    let note = signers.sign(&body("log.test", &heads).expect("a body")).expect("a note");
    Sealed { keys, signers, heads, note }
}

/// A proof as far as its signature and its head hold: what lies under them is the fuzzer's.
fn forged(sealed: &Sealed) -> Value {
    let hashes: Vec<_> = sealed.heads.iter().map(Head::leaf).collect();
    let path = proof::inclusion_among(&hashes, 1).expect("a path");
    let content = b"tally content 1\ntask-events\n\x01aaaaaaaaaaaaaaaa";
    let leaf = [Kind::Record.line(), &[0; 200]].concat();
    json!({
        "format": "tally proof 1", "event_id": Uuid::from_u128(9), "checkpoint": String::from_utf8_lossy(&sealed.note),
        "records": [{
            "leaf": BASE64_STANDARD.encode(leaf), "record": {}, "index": 1, "inclusion": [BASE64_STANDARD.encode([1; 32])],
            "head": sealed.heads[1].line(), "head_index": 1,
            "head_inclusion": path.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect::<Vec<_>>(),
            "content": BASE64_STANDARD.encode(content), "event": {},
        }],
    })
}

fn class<T>(result: Result<T, SealError>) -> String {
    let Err(error) = result else { return "holds".to_owned() };
    let said = error.to_string();
    said.chars().filter(char::is_ascii_lowercase).take(22).collect() // what follows may be the input's own
}

/// Scenario: for as long as the fuzzer runs: proof files, signed notes, lists of heads, keys, receipts' rows and inclusion paths,
/// changed in every way, and bodies that are changed and then signed by the right key.
/// Guarantees: nothing panics; no proof holds that the log did not make; a note holds only with the very text that was signed;
/// whatever is a list of heads has one text; no path leads to the root but the right one.
#[test]
fn nothing_is_proven_by_bytes() {
    let sealed = sealed();
    let heads = heads_text(&sealed.heads);
    let signed = body("log.test", &sealed.heads).expect("a body");
    let (_, public) = generate_key("log.test").expect("a key");
    let leaves: Vec<_> = (0..5_u8).map(|n| leaf_hash(&[&[n]])).collect();
    let path: Vec<u8> = proof::inclusion_among(&leaves, 2).expect("a path").concat();
    let root = {
        let mut tree = super::tree::Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf, &mut Vec::new()));
        tree.root()
    };
    let row = [&[0; 16 + 4 + 8 + 8 + 4 + 32 + 32 + 16 + 8][..], &[1, b'a'].repeat(24)].concat();
    let input = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
    let seeds = vec![
        input(0, forged(&sealed).to_string().as_bytes()),
        input(1, &sealed.note),
        input(2, heads.as_bytes()),
        input(3, public.as_bytes()),
        input(4, &row),
        input(5, &[&[5, 2][..], &path].concat()),
        input(6, &signed),
    ];
    let words = [
        "\n",
        " ",
        "\n\n",
        "\u{2014} log.test ",
        "leaves ",
        "appended ",
        "task-events",
        "-1",
        "+",
        "log.test+",
        "\"records\":[]",
        "\"index\":",
        "\"inclusion\":[]",
        "\"head_index\":",
        "AAAA",
        "==",
        "null",
        "{}",
        "tally content 1\n",
        "PRIVATE+KEY+",
        "00000000-0000-0000-0000-000000000007",
    ];
    let target = Target { name: "proofs", seeds, words: &words, bytes_max: 8_192 };
    fuzz(&target, |input| {
        let Some((kind, rest)) = input.split_first() else { return 0 };
        let text = String::from_utf8_lossy(rest);
        match kind % 7 {
            0 => {
                let checked = check_proof(&text, &sealed.keys);
                assert!(checked.is_err(), "a forged proof holds: {text}");
                outcome(&(0, class(checked)))
            }
            1 => {
                let claimed = claim(rest, &sealed.keys);
                assert!(
                    claimed.as_ref().map_or(true, |claim| claim.size == 3 && claim.leaves == 9),
                    "{text}"
                );
                let held: Result<Checkpoint, SealError> = checkpoint(rest, heads.as_bytes(), &sealed.keys);
                outcome(&(1, class(claimed), class(held)))
            }
            2 => {
                let found = heads_from(rest);
                assert!(found.as_ref().is_none_or(|found| heads_text(found).as_bytes() == rest));
                let held = checkpoint(&sealed.note, rest, &sealed.keys);
                assert!(held.is_err() || rest == heads.as_bytes(), "another list of heads holds: {text}");
                outcome(&(2, found.map(|found| found.len()), class(held)))
            }
            3 => outcome(&(3, class(Keys::parse(&[&text])), class(Signers::parse(&[&text])))),
            4 => outcome(&(4, class(leaf(Kind::Record, rest)), class(leaf(Kind::Gap, rest)))),
            5 => {
                let [size, index, path @ ..] = rest else { return 5 };
                let hashes: Vec<[u8; 32]> = path.as_chunks().0.to_vec();
                let (size, index) = (u64::from(*size), u64::from(*index));
                let known = leaves.get(usize::try_from(index).expect("a byte"));
                let held = proof::includes(&hashes, size, root, index, known.copied().unwrap_or([0; 32]));
                assert!(!held || (size == 5 && known.is_some()), "a path that is none leads to the root");
                outcome(&(5, held, proof::extends(&hashes, (size, root), (index, root)), hashes.len().min(5)))
            }
            _ => {
                let Ok(note) = sealed.signers.sign(rest) else { return 6 };
                let claimed = claim(&note, &sealed.keys);
                outcome(&(6, class(claimed), class(checkpoint(&note, heads.as_bytes(), &sealed.keys))))
            }
        }
    });
}
