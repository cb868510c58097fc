//! The commands beside `serve`, as a person or a script calls them: results on stdout, exit codes,
//! and everything that is wrong at once.

use std::process::Output;

use serde_json::Value;

use crate::support::repository::Repository;
use crate::support::{graphs, onnxd};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", stdout(output)))
}

#[test]
fn inspect_tells_what_a_model_is_and_which_engine_runs_it() {
    let library = crate::support::onnxruntime_library().to_str().expect("a UTF-8 path");
    let digits = ["inspect", "models/digits", "--onnxruntime", library];
    let shown = onnxd(&digits);
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    let text = stdout(&shown);
    for word in ["pixels", "batch, 64", "probabilities", "digit", "tract", "onnxruntime"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let found = json(&onnxd(&[&digits[..], &["--json"]].concat()));
    assert_eq!(found["inputs"][0]["name"], "pixels", "{found}");
    assert!(found["parameters"].as_u64().is_some_and(|count| count > 1000), "{found}");
    let engines = found["engines"].as_array().expect("a list");
    assert_eq!(engines.len(), 2, "{found}");
}

#[test]
fn inspect_names_the_operator_that_no_engine_runs() {
    let repository = Repository::new();
    let path = repository.model("made", &graphs::unknown_operator(), "");
    let path = path.to_str().expect("a UTF-8 path");
    let refused = onnxd(&["inspect", path, "--engine", "tract"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = stdout(&refused) + &String::from_utf8_lossy(&refused.stderr);
    for word in ["twist", "Twist", "tract"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let none = onnxd(&["inspect", "Cargo.toml"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("Cargo.toml"), "{none:?}");
}

#[test]
fn a_path_that_leads_nowhere_is_a_wrong_command_line_whoever_is_told() {
    for words in [
        &["serve", "--model", "no/such/place"][..],
        &["check", "--model", "no/such/place"],
        &["bench", "no/such/place"],
        &["inspect", "no/such/place"],
        &["serve", "--repository", "no/such/place"],
        &["models", "--repository", "no/such/place"],
        &["models", "--repository", "models/digits"],
    ] {
        let wrong = onnxd(words);
        assert_eq!(wrong.status.code(), Some(2), "{words:?}: {wrong:?}");
        let text = stdout(&wrong) + &String::from_utf8_lossy(&wrong.stderr);
        assert!(text.contains(words[words.len() - 1]), "{words:?}: {text}");
    }
}

#[test]
fn check_finds_everything_that_is_wrong_at_once_and_starts_nothing() {
    let repository = Repository::new();
    for (name, settings) in
        [("typo", "max_batch_size = 4\nmax_queue_sise = 3\n"), ("word", "batching = \"always\"\n")]
    {
        repository.version(name, 1, &graphs::affine());
        repository.write(&format!("{name}/model.toml"), settings);
    }
    repository.version("foreign", 1, &graphs::affine());
    repository.write("foreign/config.pbtxt", "platform: \"tensorrt_plan\"\n");
    let text = format!(
        "repositories = [{:?}]\n[server]\nlisten = [\"127.0.0.1:0\"]\n[engine]\nname = \"tract\"\n",
        repository.text()
    );
    let file = repository.write("onnxd.toml", text);
    let file = file.to_str().expect("a UTF-8 path");
    let wrong = onnxd(&["check", "--config", file]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let text = stdout(&wrong) + &String::from_utf8_lossy(&wrong.stderr);
    for word in [
        "typo/model.toml:2: max_queue_sise: unknown key, did you mean max_queue_size?",
        "word/model.toml:1: batching: expected",
        "foreign/config.pbtxt:1: platform",
    ] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let found = json(&onnxd(&["check", "--config", file, "--json"]));
    assert_eq!(found["ok"], false);
    assert_eq!(found["problems"].as_array().map(Vec::len), Some(3), "{found}");
    // Mended, it is well; and nothing was made beside the models.
    for name in ["typo", "word"] {
        repository.write(&format!("{name}/model.toml"), "");
    }
    repository.write("foreign/config.pbtxt", "max_batch_size: 4\n");
    let right = onnxd(&["check", "--config", file, "--json"]);
    assert_eq!(right.status.code(), Some(0), "{}", stdout(&right));
    assert_eq!(json(&right)["models"].as_array().map(Vec::len), Some(3));
    assert!(!repository.path().join("typo/layout-cache.toml").exists());
}

#[test]
fn the_configuration_that_ships_is_right_and_the_command_line_is_checked_with_it() {
    let shipped = onnxd(
        &[
            &["check", "--config", "config/onnxd.toml"][..],
            &["--model", "models/digits", "--engine", "tract"],
        ]
        .concat(),
    );
    assert_eq!(shipped.status.code(), Some(0), "{}", stdout(&shipped));
    for (arguments, word) in [
        (["--config", "no/such/file.toml"], "no/such/file.toml"),
        (["--listen", "nowhere"], "nowhere"),
        (["--max-body", "many"], "many"),
        (["--device", "abacus"], "abacus"),
    ] {
        let wrong = onnxd(&["check", arguments[0], arguments[1]]);
        assert_eq!(wrong.status.code(), Some(2), "{arguments:?}: {wrong:?}");
        let text = stdout(&wrong) + &String::from_utf8_lossy(&wrong.stderr);
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
}

#[test]
fn models_lists_a_repository_and_its_versions() {
    let repository = Repository::new();
    repository.version("affine", 1, &graphs::affine());
    repository.version("affine", 12, &graphs::affine());
    repository.version("twice", 3, &graphs::twice(17));
    let listed = onnxd(&["models", "--repository", repository.text()]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let text = stdout(&listed);
    for word in ["affine", "12", "twice", "3"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let found = json(&onnxd(&["models", "--repository", repository.text(), "--json"]));
    assert!(found.to_string().contains("\"affine\""), "{found}");
}
