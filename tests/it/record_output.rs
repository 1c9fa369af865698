//! Captured output equals what was printed, up to the limit, and what is left out is counted to the byte.

use proptest::prelude::*;
use runner::model::{Output, Stream, Timestamp};
use runner::record::{OutputLine, OutputLines, OutputLog, Settings, Synced, Tag, tail_of_output};

use crate::record_support::{LARGE, Logs, run_id, second};

const LONGEST_LINE: usize = 64 * 1024;

/// What output.log gives back of one run.
#[derive(Debug, Default, PartialEq)]
struct Given {
    out: Vec<u8>,
    err: Vec<u8>,
    markers: Vec<String>,
    /// Everything, in the order of the file.
    both: Vec<u8>,
}

fn given(logs: &Logs) -> Given {
    let all = logs.everything(logs.output());
    assert!(all.is_empty() || all.ends_with(b"\n"));
    let mut given = Given::default();
    for line in all.split_inclusive(|b| *b == b'\n') {
        assert!(line.len() <= LONGEST_LINE, "{}", line.len());
        let line = OutputLine::parse(&line[..line.len() - 1]).expect("a line of the runner's");
        assert_eq!(line.run, run_id(1).to_string());
        let mut take = |stream: Stream, end: &[u8]| {
            for into in [if stream == Stream::Out { &mut given.out } else { &mut given.err }, &mut given.both] {
                into.extend_from_slice(line.text);
                into.extend_from_slice(end);
            }
        };
        match line.tag {
            Tag::Line(stream) => take(stream, b"\n"),
            Tag::Piece(stream) => take(stream, b""),
            Tag::Marker => given.markers.push(String::from_utf8(line.text.to_vec()).unwrap()),
        }
    }
    given
}

fn print(logs: &Logs, limit: Option<u64>, chunks: &[(Stream, Vec<u8>)]) -> Output {
    let mut output = OutputLog::new(logs.log(), run_id(1), limit);
    for (n, (stream, bytes)) in chunks.iter().enumerate() {
        output.write(*stream, bytes, second(n as i64));
    }
    output.finish(second(chunks.len() as i64))
}

#[test]
fn every_byte_comes_back_without_a_limit_whatever_it_is() {
    let logs = Logs::new(LARGE);
    let text: &[u8] = b"a\r\n\n\0b\xff\xfe\tc\x1b\x08\x7f\rno line break at the end";
    let output = print(&logs, None, &[(Stream::Out, text.to_vec()), (Stream::Err, b"one\ntwo".to_vec())]);
    assert_eq!(output, Output { bytes: text.len() as u64 + 7, lines: 5, truncated: false, lost: 0 });
    let given = given(&logs);
    assert_eq!((given.out, given.err), (text.to_vec(), b"one\ntwo".to_vec()));
    assert_eq!(given.markers, [""; 0]);
}

/// The file's text of one stream when that prints these bytes, however they are cut.
#[track_caller]
fn kept_of(text: &[u8], expected: &[u8]) {
    for size in [1, 2, 3, 7, text.len()] {
        let logs = Logs::new(LARGE);
        let chunks: Vec<_> = text.chunks(size).map(|bytes| (Stream::Out, bytes.to_vec())).collect();
        let output = print(&logs, None, &chunks);
        let lines = text.split_inclusive(|b| *b == b'\n').count() as u64;
        assert_eq!(output, Output { bytes: text.len() as u64, lines, truncated: false, lost: 0 }, "counted as printed");
        let kept = given(&logs).out;
        assert_eq!(kept, expected, "in pieces of {size}: {:?}", String::from_utf8_lossy(&kept));
    }
}

#[test]
fn progress_with_carriage_returns_stands_as_its_last_state() {
    kept_of(b"10%\r20%\r100%\n", b"100%\n");
    kept_of(b"\r10%\r20%\r100%\nnext\n", b"100%\nnext\n");
    kept_of(b"10%\r20%\r100%\r\nnext\r\n", b"100%\r\nnext\r\n");
    kept_of(b"one\r\ntwo\r\n\r\n", b"one\r\ntwo\r\n\r\n");
    kept_of(b"a\r\r\r\nb", b"a\r\nb");
    // Its end is seen when the run ends, however that comes.
    kept_of(b"10%\r57%", b"57%");
    kept_of(b"10%\r57%\r", b"57%\r");
    kept_of(b"\r\r\r", b"\r");
    // A NUL says that it is no text: nothing is overwritten from there on.
    kept_of(b"1%\r2%\r\0a\rb\r\rc\nd\re\n", b"2%\r\0a\rb\r\rc\nd\re\n");
}

#[test]
fn streams_that_overwrite_their_lines_do_not_touch_each_other() {
    let logs = Logs::new(LARGE);
    let chunks =
        [(Stream::Out, "1%\r"), (Stream::Err, "a\r"), (Stream::Out, "2%"), (Stream::Err, "b\n"), (Stream::Out, "\n")];
    print(&logs, None, &chunks.map(|(stream, text)| (stream, text.as_bytes().to_vec())));
    let given = given(&logs);
    assert_eq!((given.out, given.err), (b"2%\n".to_vec(), b"b\n".to_vec()));
}

#[test]
fn progress_that_never_ends_takes_no_memory_and_no_room() {
    let logs = Logs::new(LARGE);
    let mut output = OutputLog::new(logs.log(), run_id(1), None);
    let bytes: Vec<u8> = (0..10_000).flat_map(|n| format!("\r{n} of many, and some more text").into_bytes()).collect();
    let before = runner::os::memory::own_peak_kb();
    for n in 0..300 {
        output.write(Stream::Out, &bytes, second(n));
    }
    assert!(runner::os::memory::own_peak_kb() < before + 4_000);
    let printed = output.finish(second(300));
    assert_eq!((printed.bytes, printed.lines, printed.lost), (300 * bytes.len() as u64, 1, 0));
    assert_eq!(given(&logs).out, b"9999 of many, and some more text");
    assert!(std::fs::metadata(logs.output()).unwrap().len() < 200);
}

#[test]
fn a_command_that_prints_nothing_leaves_nothing() {
    let logs = Logs::new(LARGE);
    assert_eq!(print(&logs, Some(100), &[(Stream::Out, Vec::new())]), Output::default());
    assert!(!logs.output().exists());
}

#[test]
fn the_first_and_the_last_half_of_the_limit_are_kept_with_a_marker_between() {
    let logs = Logs::new(LARGE);
    let text: Vec<u8> = (0..100u8).map(|n| if n % 10 == 9 { b'\n' } else { b'a' + n / 10 }).collect();
    let output = print(&logs, Some(41), &[(Stream::Out, text.clone())]);
    assert_eq!(output, Output { bytes: 100, lines: 10, truncated: true, lost: 59 });
    let given = given(&logs);
    assert_eq!(given.out, [&text[..21], &text[80..]].concat());
    assert_eq!(given.markers, ["59 bytes left out here (limits.output)"]);
}

#[test]
fn limits_of_nothing_and_of_one_byte_keep_just_that() {
    for (limit, kept) in [(0, ""), (1, "a"), (2, "ad"), (3, "abd")] {
        let logs = Logs::new(LARGE);
        let output = print(&logs, Some(limit), &[(Stream::Out, b"abcd".to_vec())]);
        assert_eq!((output.bytes, output.lost, output.truncated), (4, 4 - limit, true), "limit {limit}");
        let given = given(&logs);
        assert_eq!(given.out, kept.as_bytes(), "limit {limit}");
        assert_eq!(given.markers.len(), 1);
    }
    let logs = Logs::new(LARGE);
    assert_eq!(print(&logs, Some(4), &[(Stream::Out, b"abcd".to_vec())]).lost, 0);
    assert_eq!(given(&logs).out, b"abcd");
}

#[test]
fn a_line_longer_than_a_piece_is_cut_into_marked_pieces_and_comes_back_whole() {
    let logs = Logs::new(LARGE);
    let long = vec![b'x'; 1_000_000];
    for chunk in [7, 65_469, 65_468, 65_470, 262_144] {
        let _ = std::fs::remove_file(logs.output());
        let mut chunks: Vec<_> = long.chunks(chunk).map(|bytes| (Stream::Err, bytes.to_vec())).collect();
        chunks.push((Stream::Err, b"\nend\n".to_vec()));
        let output = print(&logs, None, &chunks);
        assert_eq!((output.lines, output.lost), (2, 0));
        assert_eq!(given(&logs).err, [&long[..], b"\nend\n"].concat(), "chunks of {chunk}");
    }
}

#[test]
fn a_marker_is_one_line_and_no_longer_than_any_other() {
    let logs = Logs::new(LARGE);
    let mut output = OutputLog::new(logs.log(), run_id(1), None);
    output.marker(&format!("end failed: a\nb {}", "é".repeat(100_000)), second(0));
    output.finish(second(0));
    let given = given(&logs);
    assert_eq!(given.markers.len(), 1);
    assert!(given.markers[0].starts_with("end failed: a b é"));
}

#[test]
fn output_lines_and_tails_read_across_rotated_files() {
    let logs = Logs::new(Settings { max_size: 1_000, max_files: 100, synced: Synced::Nothing });
    let text: Vec<u8> = (0..200).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    print(&logs, None, &[(Stream::Out, text)]);
    assert!(logs.output().with_extension("log.5").exists());
    let mut lines = OutputLines::of(&logs.records.layout, &logs.job);
    let mut n = 0;
    while let Some(line) = lines.next_line().unwrap() {
        assert_eq!(OutputLine::parse(&line).unwrap().text, format!("line {n}").as_bytes());
        n += 1;
    }
    assert_eq!(n, 200);
    let tail = tail_of_output(&logs.records.layout, &logs.job, 30, |line| !line.ends_with(b"7")).unwrap();
    let last = OutputLine::parse(tail.last().unwrap()).unwrap().text;
    assert_eq!((tail.len(), last), (30, &b"line 199"[..]));
    assert!(tail_of_output(&logs.records.layout, &logs.job, 0, |_| true).unwrap().is_empty());
}

#[test]
fn a_rotation_while_one_reads_neither_hides_nor_repeats_lines() {
    let logs = Logs::new(Settings { max_size: 1_000, max_files: 100, synced: Synced::Nothing });
    let numbers = |from: u32, to: u32| (from..to).flat_map(|n| format!("{n}\n").into_bytes()).collect::<Vec<u8>>();
    print(&logs, None, &[(Stream::Out, numbers(0, 100))]);
    let mut lines = OutputLines::of(&logs.records.layout, &logs.job);
    let mut read = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        read.push(String::from_utf8(OutputLine::parse(&line).unwrap().text.to_vec()).unwrap());
        if read.len() % 10 == 0 && read.len() <= 60 {
            print(&logs, None, &[(Stream::Out, numbers(1_000, 1_020))]);
        }
    }
    let first: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(read[..100], first);
}

#[derive(Debug, Clone)]
struct Chunk(Stream, Vec<u8>);

fn chunk() -> impl Strategy<Value = Chunk> {
    let bytes = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        4 => "[a-z\r\n]{0,80}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(Just(b'\n'), 0..20),
        1 => (0usize..200_000).prop_map(|n| vec![b'x'; n]),
        1 => (0usize..5_000).prop_map(|n| b"0123456\n".repeat(n)),
    ];
    (prop_oneof![Just(Stream::Out), Just(Stream::Err)], bytes).prop_map(|(stream, bytes)| Chunk(stream, bytes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn captured_output_equals_what_was_printed_up_to_the_limit(
        chunks in proptest::collection::vec(chunk(), 0..30),
        limit in prop_oneof![
            2 => Just(None),
            3 => (0u64..2_000).prop_map(Some),
            2 => (0u64..500_000).prop_map(Some),
        ],
        max_size in prop_oneof![1u64..2_000, 1_000u64..500_000, Just(10_000_000)],
        overwrites: bool,
    ) {
        // Lines that are overwritten, or lines that are longer than a piece: of those the pieces before stay.
        let fit = |Chunk(stream, mut bytes): Chunk| {
            match overwrites {
                true => bytes.truncate(2_000),
                false => bytes.iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b'r'),
            }
            (stream, bytes)
        };
        let chunks: Vec<_> = chunks.into_iter().map(fit).collect();
        // Not very many files: each rotation renames them all.
        let max_size = max_size.max(chunks.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() / 4);
        let logs = Logs::new(Settings { max_size, max_files: 100_000, synced: Synced::Nothing });
        let output = print(&logs, limit, &chunks);
        prop_assert_eq!(logs.records.faults.report(), None);
        let of = |wanted: Stream| chunks.iter().filter(|(s, _)| *s == wanted).flat_map(|(_, b)| b.clone()).collect::<Vec<u8>>();
        let (out, err) = (of(Stream::Out), of(Stream::Err));
        let printed: u64 = (out.len() + err.len()) as u64;
        let lines = |bytes: &[u8]| bytes.split_inclusive(|b| *b == b'\n').count() as u64;
        prop_assert_eq!(output.bytes, printed);
        prop_assert_eq!(output.lines, lines(&out) + lines(&err));
        let lost = limit.map_or(0, |limit| printed.saturating_sub(limit));
        prop_assert_eq!((output.lost, output.truncated), (lost, lost > 0));
        let mut given = read_all(&logs);
        prop_assert_eq!(given.markers.len(), usize::from(lost > 0));
        if lost == 0 {
            prop_assert!(given.out == last_states(&[&out]) && given.err == last_states(&[&err]));
        } else {
            // The bytes at the beginning and at the end of what came, whichever stream they came through.
            let tagged: Vec<(Stream, u8)> = chunks.iter().flat_map(|(s, b)| b.iter().map(|b| (*s, *b))).collect();
            let limit = limit.unwrap();
            let (head, tail) = ((limit - limit / 2) as usize, (limit / 2) as usize);
            // What stood when the first part ended is not touched by the last.
            let part = |part: &[(Stream, u8)], wanted: Stream| {
                part.iter().filter(|(s, _)| *s == wanted).map(|(_, b)| *b).collect::<Vec<u8>>()
            };
            let kept_of = |wanted: Stream| {
                last_states(&[&part(&tagged[..head], wanted), &part(&tagged[tagged.len() - tail..], wanted)])
            };
            prop_assert!(given.out == kept_of(Stream::Out));
            prop_assert!(given.err == kept_of(Stream::Err));
            let marker = given.markers.remove(0);
            prop_assert_eq!(marker, format!("{} left out here (limits.output)", runner::model::count(lost, "byte")));
        }
    }
}

/// A stream's text as it stands when each line was overwritten as its carriage returns say, until there is a NUL: the simplest
/// way to tell. Between two parts something was left out.
fn last_states(parts: &[&[u8]]) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut is_binary = false;
    for part in parts {
        let mut line: Vec<u8> = Vec::new();
        for byte in *part {
            is_binary |= *byte == 0;
            if *byte == b'\n' {
                shown.append(&mut line);
                shown.push(b'\n');
                continue;
            }
            if line.last() == Some(&b'\r') && !is_binary {
                if *byte == b'\r' {
                    continue;
                }
                line.clear();
            }
            line.push(*byte);
        }
        shown.append(&mut line);
    }
    shown
}

/// As [`given`], with far more rotated files than anybody keeps.
fn read_all(logs: &Logs) -> Given {
    let mut lines = OutputLines::of(&logs.records.layout, &logs.job);
    let mut given = Given::default();
    while let Some(line) = lines.next_line().unwrap() {
        assert!(line.len() < LONGEST_LINE);
        let line = OutputLine::parse(&line).expect("a line of the runner's");
        assert!(line.time.parse::<Timestamp>().is_ok());
        match line.tag {
            Tag::Line(Stream::Out) => given.out.extend(line.text.iter().chain(b"\n")),
            Tag::Line(Stream::Err) => given.err.extend(line.text.iter().chain(b"\n")),
            Tag::Piece(Stream::Out) => given.out.extend(line.text),
            Tag::Piece(Stream::Err) => given.err.extend(line.text),
            Tag::Marker => given.markers.push(String::from_utf8(line.text.to_vec()).unwrap()),
        }
    }
    given
}
