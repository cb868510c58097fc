//! The rules that the compiler does not hold: who may import whom, where foreign crates live,
//! what is pure, how large a file may be. All of them are about the text of `src`, read without
//! its comments; what only tests compile may import what it likes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every part, and the parts that it may import. `commands` is where they all meet, and nothing
/// imports it.
const IMPORTS: &[(&str, &[&str])] = &[
    ("tensor", &[]),
    ("process", &[]),
    ("telemetry", &[]),
    ("repository", &[]),
    ("kernels", &[]),
    ("onnx", &["tensor"]),
    ("protocol", &["tensor"]),
    // Of `onnx` it takes the model file as data, to inline functions that tract does not know.
    ("engine", &["tensor", "onnx", "kernels", "telemetry"]),
    ("autodiff", &["onnx", "tensor"]),
    ("batching", &["engine", "tensor", "telemetry"]),
    ("lifecycle", &["batching", "engine", "repository", "telemetry"]),
    // Of `engine` it names what batching's own interface speaks in, signatures, devices and errors;
    // that it never holds an engine or a session, the test after the table's holds.
    ("server", &["lifecycle", "batching", "engine", "protocol", "tensor", "process", "telemetry"]),
    ("data", &["onnx", "engine", "tensor"]),
    ("compress", &["onnx", "engine", "tensor"]),
    (
        "train",
        &["autodiff", "onnx", "engine", "data", "repository", "tensor", "process", "telemetry"],
    ),
    // Settings types only: it reads text and nothing else of anybody.
    (
        "config",
        &[
            "batching",
            "engine",
            "lifecycle",
            "process",
            "repository",
            "server",
            "telemetry",
            "train",
        ],
    ),
];

/// Parts and single files that may import all of them.
const MEETING_PLACES: &[&str] = &["commands", "cli", "main.rs", "lib.rs"];

/// Foreign crates and the only places that may name them.
const RING_FENCES: &[(&str, &[&str])] = &[
    ("ort", &["engine/onnxruntime/"]),
    ("tract_onnx", &["engine/tract/"]),
    ("hyper", &["server/"]),
    ("hyper_util", &["server/"]),
    ("http_body_util", &["server/"]),
    ("metrics", &["telemetry/"]),
    ("metrics_exporter_prometheus", &["telemetry/"]),
    ("metrics_process", &["telemetry/"]),
    ("tracing", &["telemetry/"]),
    ("tracing_subscriber", &["telemetry/"]),
    ("clap", &["cli/"]),
    ("prost", &["onnx/"]),
    ("anyhow", &["commands/", "main.rs"]),
];

/// What decides or describes and does nothing: no runtime, no clock, no files, no threads.
const PURE: &[&str] = &[
    "tensor/",
    "onnx/",
    "protocol/",
    "autodiff/",
    "batching/queue.rs",
    "batching/policy.rs",
    "lifecycle/state.rs",
    "lifecycle/policy.rs",
    "lifecycle/catalog.rs",
    "train/gate.rs",
];
/// In pure parts, and yet not pure: the model file's reader and writer, and the reader of the data
/// that it keeps in files beside it.
const DOORS: &[&str] = &["onnx/read.rs", "onnx/write.rs", "onnx/external.rs"];
const IMPURE_WORDS: &[&str] =
    &["tokio::", "Instant::now", "SystemTime::now", "std::fs", "std::net", "thread::"];

/// Where `unsafe` may be written.
/// `main.rs`: the environment is written before there is a second thread.
const UNSAFE_PLACES: &[&str] = &["engine/onnxruntime/", "kernels/", "tensor/", "main.rs"];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_LINE_CHARS: usize = 100;

/// A source file of ours.
struct Source {
    /// Below the crate's root, such as `src/batching/queue.rs`.
    path: String,
    text: String,
    /// Whether only tests compile it.
    is_test: bool,
}

impl Source {
    /// Below `src`.
    fn place(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// The first folder below `src`, or the file itself where it lies in none.
    fn part(&self) -> &str {
        self.place().split('/').next().unwrap_or_default()
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.place().starts_with(place))
    }

    /// Lines with their numbers, without comments and without the tests at the end of the file.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_test_module = |index: usize| {
            lines[index] == "#[cfg(test)]"
                && lines.get(index + 1).is_some_and(|next| next.ends_with('{'))
        };
        let end = (0..lines.len()).find(|&index| is_test_module(index)).unwrap_or(lines.len());
        let numbered = lines[..end].iter().enumerate().map(|(index, line)| (index + 1, *line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("names of sources are plain").to_owned()
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every file below a folder of the crate.
fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    files_below(&root().join(folder), &mut files);
    files.sort();
    let mut sources: Vec<Source> = files
        .iter()
        .map(|path| Source {
            path: text_of(path.strip_prefix(root()).expect("it lies below the root")),
            text: fs::read_to_string(path).expect("a source is text"),
            is_test: false,
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        source.is_test = tests.iter().any(|module| source.path.starts_with(module));
    }
    sources
}

/// Paths, as file and as folder, of the modules that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let path = Path::new(&source.path);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = match stem {
        "mod" | "lib" | "main" => path.parent().expect("a file lies in a folder").to_owned(),
        other => path.with_file_name(other),
    };
    let lines: Vec<&str> = source.text.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].trim() == "#[cfg(test)]")
        .filter_map(|pair| pair[1].trim().strip_suffix(';')?.split("mod ").nth(1))
        .flat_map(|name| {
            let module = text_of(&folder.join(name));
            [format!("{module}.rs"), format!("{module}/")]
        })
        .collect()
}

/// Files that the daemon is built from.
fn production() -> Vec<Source> {
    sources("src").into_iter().filter(|source| !source.is_test).collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `word` stands in the line, not as a part of a longer word.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line.as_bytes()[..start].last();
        let after = line.as_bytes().get(start + word.len());
        !before.is_some_and(|&byte| is_word(byte)) && !after.is_some_and(|&byte| is_word(byte))
    })
}

/// The modules at the top of the crate that code names: `crate::tensor::…`, `crate::{tensor, …}`.
fn imported(code: &str) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for (start, prefix) in code.match_indices("crate::") {
        let is_own_word = !code.as_bytes()[..start].last().is_some_and(|&byte| is_word(byte));
        if !is_own_word {
            continue;
        }
        let rest = &code[start + prefix.len()..];
        match rest.strip_prefix('{') {
            None => drop(parts.insert(first_word(rest))),
            Some(group) => parts.extend(top_of_group(group)),
        }
    }
    parts
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '_').collect()
}

/// The first words of the members of `{a::b, c::{d, e}}`, the opening brace left out.
fn top_of_group(group: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0;
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => words.push(String::new()),
            _ if depth == 0 => words.last_mut().expect("never empty").push(character),
            _ => {}
        }
    }
    words.iter().map(|word| first_word(word.trim_start())).filter(|it| !it.is_empty()).collect()
}

fn assert_none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}

#[test]
fn parts_import_only_what_the_table_allows() {
    let mut violations = Vec::new();
    for source in production().iter().filter(|it| !MEETING_PLACES.contains(&it.part())) {
        let Some((_, allowed)) = IMPORTS.iter().find(|(part, _)| *part == source.part()) else {
            violations.push(format!("{}: the table has no such part", source.path));
            continue;
        };
        let code: Vec<&str> = source.code().into_iter().map(|(_, line)| line).collect();
        for imported in imported(&code.join("\n")) {
            if imported != source.part() && !allowed.contains(&imported.as_str()) {
                violations.push(format!("{} imports {imported}", source.path));
            }
        }
    }
    assert_none("a part may import only what IMPORTS, the table above, allows", violations);
}

#[test]
fn the_server_never_holds_an_engine() {
    let mut violations = Vec::new();
    for source in production().iter().filter(|source| source.part() == "server") {
        for (number, line) in source.code() {
            let is_use =
                line.contains("engine::") && ["Engine", "Session"].iter().any(|it| names(line, it));
            if is_use {
                violations.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("requests reach a session through batching only", violations);
}

#[test]
fn foreign_crates_stay_in_their_fences() {
    let mut violations = Vec::new();
    for source in production() {
        for (name, places) in RING_FENCES.iter().filter(|(_, places)| !source.is_in(places)) {
            let path = format!("{name}::");
            let is_use = |line: &str| {
                line.match_indices(&path).any(|(start, _)| {
                    let before = line.as_bytes()[..start].last();
                    // `crate::telemetry::metrics::…` would be ours.
                    !before.is_some_and(|&byte| is_word(byte) || byte == b':')
                }) || line.trim_start().starts_with(&format!("use {name};"))
            };
            for (number, line) in source.code() {
                if is_use(line) {
                    let place = places.join(" or ");
                    violations.push(format!("{}:{number}: {name} outside {place}", source.path));
                }
            }
        }
    }
    assert_none("a foreign crate is known in one part only", violations);
}

#[test]
fn what_is_pure_has_no_clock_files_or_runtime() {
    let sources = production();
    let impurities = |source: &Source| -> Vec<String> {
        let found = |(number, line): (usize, &str)| {
            let word = IMPURE_WORDS.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{number}: {word}", source.path))
        };
        source.code().into_iter().filter_map(found).collect()
    };
    for door in DOORS {
        let is_one = |source: &Source| source.place() == *door && !impurities(source).is_empty();
        assert!(sources.iter().any(is_one), "{door} needs no exemption");
    }
    let is_pure = |source: &&Source| source.is_in(PURE) && !source.is_in(DOORS);
    let violations = sources.iter().filter(is_pure).flat_map(impurities).collect();
    assert_none("pure parts decide; time and input are arguments", violations);
}

#[test]
fn unsafe_code_stays_in_its_places_and_says_why() {
    let mut violations = Vec::new();
    for source in production() {
        let lines: Vec<&str> = source.text.lines().collect();
        // A type of an unsafe function does nothing yet.
        let is_unsafe = |line: &str| names(line, "unsafe") && !line.contains("unsafe extern");
        for (number, _) in source.code().into_iter().filter(|(_, line)| is_unsafe(line)) {
            if !source.is_in(UNSAFE_PLACES) {
                violations.push(format!("{}:{number}: unsafe outside its places", source.path));
            }
            let above = &lines[number.saturating_sub(6)..number];
            let is_said =
                above.iter().any(|line| line.contains("SAFETY") || line.contains("# Safety"));
            if !is_said {
                violations.push(format!("{}:{number}: unsafe without its reason", source.path));
            }
        }
    }
    assert_none("unsafe code is rare and says why it is sound", violations);
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    let forbidden = [".unwrap()", "todo!(", "unimplemented!(", "dbg!("];
    let mut violations = Vec::new();
    for source in production() {
        for (number, line) in source.code() {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                violations.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    assert_none("an error is handled, or `expect` states the invariant", violations);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut violations = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let path = &source.path;
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > MAX_FILE_LINES {
            violations.push(format!("{path}: {} lines, at most {MAX_FILE_LINES}", lines.len()));
        }
        if !lines.first().is_some_and(|line| line.starts_with("//! ")) {
            violations.push(format!("{path}: the first line is not `//! ` and what it is for"));
        }
        for (index, line) in lines.iter().enumerate() {
            let length = line.chars().count();
            // The formatter sees to code; what it cannot break need not be broken.
            if length > MAX_LINE_CHARS && line.trim_start().starts_with("//") {
                violations.push(format!("{path}:{}: {length} characters", index + 1));
            }
            // Written in halves, or this file would break its own rule.
            let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
            if marks.iter().any(|mark| names(line, mark)) {
                violations.push(format!("{path}:{}: unfinished", index + 1));
            }
        }
    }
    assert_none("a file has one noun, a screenful or five, and an opening sentence", violations);
}

#[test]
fn functions_fit_on_a_screen_or_two() {
    let mut violations = Vec::new();
    // A test that is long is a table.
    for source in production() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let begins = ["fn ", "pub ", "pub(", "async fn ", "const fn ", "unsafe fn "];
            let is_function =
                begins.iter().any(|begin| code.starts_with(begin)) && names(code, "fn");
            if !is_function || code.ends_with([';', '}']) {
                continue;
            }
            // As formatted, a body ends at the first brace that is indented as its beginning, and
            // a declaration without one at a semicolon.
            let indent = &line[..line.len() - code.len()];
            let (body_end, declaration_end) = (format!("{indent}}}"), format!("{indent})"));
            let is_end = |line: &&str| {
                **line == body_end || (line.starts_with(&declaration_end) && line.ends_with(';'))
            };
            let length = lines[start..].iter().take_while(|line| !is_end(line)).count() + 1;
            if length > MAX_FUNCTION_LINES {
                violations.push(format!("{}:{}: {length} lines", source.path, start + 1));
            }
        }
    }
    assert_none("a function has at most 70 lines", violations);
}

#[test]
fn modules_with_files_of_their_own_are_folders_with_mod_rs() {
    let sources = sources("src");
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let has_folder = |path: &&str| {
        let folder = format!("{}/", path.trim_end_matches(".rs"));
        paths.iter().any(|other| other.starts_with(&folder))
    };
    let violations = paths.iter().filter(|path| has_folder(path)).map(|it| (*it).to_owned());
    assert_none("a module's files lie in its folder, beside mod.rs", violations.collect());
}

#[test]
fn the_readers_of_these_rules_see_through_braces() {
    let code =
        "use crate::{engine::{Engine, Session}, tensor::Tensor};\nlet a = crate::batching::B;";
    let expected = ["batching", "engine", "tensor"].map(str::to_owned);
    assert_eq!(imported(code), BTreeSet::from(expected));
    assert_eq!(imported("$crate::x; mycrate::y"), BTreeSet::from(["x".to_owned()]));
    assert!(names("pub unsafe fn", "unsafe") && !names("unsafe_code", "unsafe"));
}
