//! The numbered checkpoints of a log before the newest, and the file `checkpoint` that points at it: nobody needs them to
//! verify rows, yet others may hold them against their own copies.

use super::SealError;
use super::checkpoint::{Checkpoint, checkpoint, claim, leaves};
use super::keys::Keys;
use super::log::{Log, NEWEST, numbered};
use super::report::{Class, Finding};
use bytes::Bytes;
use futures::stream::{self, StreamExt};

/// Numbered checkpoints that are read, the newest ones: a log may have one a minute.
const CHECKPOINTS_MAX: u64 = 1_000;
/// That are read at once.
const READS_MAX: usize = 16;

/// One numbered checkpoint, as it was read.
struct Read {
    number: u64,
    note: Option<Bytes>,
    /// What it signs; `None` where its key was not given, or where `findings` say why.
    checkpoint: Option<Checkpoint>,
    finding: Option<Finding>,
}

async fn read(log: &Log, keys: &Keys, number: u64) -> Read {
    let path = numbered(number);
    let mut read = Read { number, note: None, checkpoint: None, finding: None };
    let known = async {
        let note = log.get(&path).await?.ok_or_else(|| SealError::Missing(path.clone()))?;
        read.note = Some(note.clone());
        let list = format!("heads/{}", hex::encode(claim(&note, keys)?.root));
        let heads = log.get(&list).await?.ok_or(SealError::Missing(list))?;
        checkpoint(&note, &heads, keys)
    };
    match known.await {
        Ok(known) => read.checkpoint = Some(known),
        Err(SealError::UnknownKey(_)) => {} // keys rotate, and the newest is by one that was given
        Err(error) => read.finding = Some(Finding { at: path, ..Finding::from(error) }),
    }
    read
}

/// What was altered of the checkpoints up to `number`, which is the newest, and of the file that points at it.
pub(super) async fn altered(log: &Log, keys: &Keys, number: u64) -> Vec<Finding> {
    let numbers = number.saturating_sub(CHECKPOINTS_MAX) + 1..=number;
    let all: Vec<Read> =
        stream::iter(numbers).map(|number| read(log, keys, number)).buffered(READS_MAX).collect().await;
    let mut findings: Vec<Finding> = all.iter().filter_map(|read| read.finding.clone()).collect();
    let mut before: Option<(u64, u64)> = None;
    for read in &all {
        let Some(checkpoint) = &read.checkpoint else { continue };
        let leaves = leaves(&checkpoint.heads);
        if let Some((earlier, more)) = before.filter(|(_, more)| *more > leaves) {
            let what = format!("has {leaves} leaves, and {} before it has {more}", numbered(earlier));
            findings.push(Finding { at: numbered(read.number), ..Finding::log(Class::Tampered, what) });
        }
        before = Some((read.number, leaves));
    }
    match pointer(log, &all, number).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(error.into()),
    }
    findings
}

/// Holds `checkpoint` against the numbered ones: it is the newest, or after a crash the one before.
async fn pointer(log: &Log, all: &[Read], number: u64) -> Result<Option<Finding>, SealError> {
    let Some(note) = log.get(NEWEST).await? else {
        let crashed = number == 1;
        return Ok((!crashed).then(|| SealError::Missing(NEWEST.to_owned()).into()));
    };
    let same = |read: &&Read| read.note.as_ref() == Some(&note);
    let place = all.iter().rev().find(same).map(|read| read.number);
    if place.is_some_and(|place| place + 1 >= number) {
        return Ok(None);
    }
    // a sealer may have gone on since the newest was read
    let newest = log.newest().await?.map_or(number, |(newest, _)| newest);
    for later in number + 1..=newest {
        if log.get(&numbered(later)).await?.as_ref() == Some(&note) {
            return Ok(None);
        }
    }
    let what = match place {
        Some(place) => {
            format!("is {}, and the newest is {}: it was rolled back", numbered(place), numbered(number))
        }
        None => "is none of the numbered checkpoints: it was altered".to_owned(),
    };
    Ok(Some(Finding { at: NEWEST.to_owned(), ..Finding::log(Class::Tampered, what) }))
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Head, Lane, body, heads_root, heads_text};
    use super::super::keys::{Keys, Signers, generate_key};
    use super::super::log::{Log, NEWEST, numbered};
    use super::super::report::Class;
    use super::altered;
    use bytes::Bytes;
    use uuid::Uuid;

    async fn sealed(log: &Log, signers: &Signers, number: u64) -> Bytes {
        let lane = Lane { topic: "task-events".to_owned(), topic_id: Uuid::from_u128(1), partition: 0 };
        let (next, root) =
            (i64::try_from(number).expect("small"), [u8::try_from(number).expect("small"); 32]);
        let heads = [Head { lane, next, size: number, appended_at_ms: 1, root }];
        let note =
            Bytes::from(signers.sign(&body(signers.origin(), &heads).expect("a body")).expect("a note"));
        let list = format!("heads/{}", hex::encode(heads_root(&heads)));
        log.overwrite(&list, Bytes::from(heads_text(&heads))).await.expect("written");
        log.overwrite(&numbered(number), note.clone()).await.expect("written");
        note
    }

    /// Scenario: a log of five checkpoints. The file `checkpoint` is the newest, the one before, an older one, altered, gone; a
    /// numbered one is altered, another's copy, gone.
    /// Guarantees: the first two are sound; of the others what differs is named; an unknown key's checkpoint is passed over, and
    /// a sealer that begins again brings only a pointer up that lags by one.
    #[tokio::test]
    async fn the_checkpoints_before_the_newest_are_held_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path().to_str().expect("text"), true).expect("a log");
        let (private, public) = generate_key("log").expect("a key");
        let (stranger, _) = generate_key("log").expect("a key");
        let (signers, keys) =
            (Signers::parse(&[&private]).expect("a signer"), Keys::parse(&[&public]).expect("a key"));
        let strangers = Signers::parse(&[&stranger]).expect("a signer");
        let mut notes = vec![sealed(&log, &strangers, 1).await];
        for number in 2..=5 {
            notes.push(sealed(&log, &signers, number).await);
        }
        let point = async |note: &[u8]| {
            log.overwrite(NEWEST, Bytes::copy_from_slice(note)).await.expect("written");
        };
        let said = async || {
            let findings = altered(&log, &keys, 5).await;
            findings.iter().map(|finding| (finding.class, finding.at.clone())).collect::<Vec<_>>()
        };
        for sound in [&notes[4], &notes[3]] {
            point(sound).await;
            assert_eq!(said().await, []);
        }
        log.point_at(5, &notes[4]).await.expect("written");
        assert_eq!(log.get(NEWEST).await.expect("read").as_ref(), Some(&notes[4]));
        let tampered = |at: &str| (Class::Tampered, at.to_owned());
        let text = String::from_utf8(notes[4].to_vec()).expect("text");
        for wrong in [&notes[2][..], text.replacen("leaves 5", "leaves 6", 1).as_bytes()] {
            point(wrong).await;
            assert_eq!(said().await, [tampered(NEWEST)]);
            log.point_at(5, &notes[4]).await.expect("nothing");
            assert_eq!(said().await, [tampered(NEWEST)], "it stays to be found");
        }
        point(&notes[4]).await;

        let number = |number: u64| folder.path().join(numbered(number));
        let altered = String::from_utf8(notes[2].to_vec()).expect("text").replacen("leaves 3", "leaves 9", 1);
        std::fs::write(number(3), altered).expect("written");
        assert_eq!(said().await, [tampered(&numbered(3))]);
        std::fs::write(number(3), &notes[4]).expect("written");
        assert_eq!(said().await, [tampered(&numbered(4))], "what follows has fewer leaves");
        std::fs::remove_file(number(3)).expect("removed");
        assert_eq!(said().await, [(Class::Unchecked, numbered(3))]);
        std::fs::write(number(3), &notes[2]).expect("written");
        std::fs::remove_file(folder.path().join(NEWEST)).expect("removed");
        assert_eq!(said().await, [(Class::Unchecked, String::new())]);
    }
}
