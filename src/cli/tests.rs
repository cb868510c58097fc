//! Promises about what may be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;

use super::*;
use crate::config::Overrides;
use crate::engine::{Device, DeviceChoice, EngineChoice};
use crate::lifecycle::NamedModel;
use crate::telemetry::logging::LogFormat;

fn typed(line: &str) -> Result<Command, (String, i32)> {
    parse_from(std::iter::once("onnxd").chain(line.split_whitespace()))
}

fn served(line: &str) -> Overrides {
    match typed(line) {
        Ok(Command::Serve(arguments)) => arguments.options.into(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definitions_are_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_option_of_serve_becomes_a_setting() {
    let line = "serve --config c.toml --model d=models/digits --model m.onnx --repository r \
                --repository s --listen 127.0.0.1:80 --listen unix:/run/o.sock --engine tract \
                --device cpu --onnxruntime lib.so --network-threads 3 --max-body 1MiB \
                --max-inflight 2MiB \
                --allow-repository-control --triton-metrics --log-format json --log-level \
                warn,onnxd=debug --trace-endpoint http://c:4318 --shutdown-grace 5s \
                --shutdown-deadline 1min";
    let model = |name: Option<&str>, path: &str| NamedModel {
        name: name.map(str::to_owned),
        path: PathBuf::from(path),
    };
    let expected = Overrides {
        config: Some(PathBuf::from("c.toml")),
        models: vec![model(Some("d"), "models/digits"), model(None, "m.onnx")],
        repositories: vec![PathBuf::from("r"), PathBuf::from("s")],
        listen: vec![
            "127.0.0.1:80".parse().expect("an address"),
            "unix:/run/o.sock".parse().expect("an address"),
        ],
        network_threads: Some(3),
        max_body_bytes: Some(1 << 20),
        max_inflight_bytes: Some(2 << 20),
        allow_repository_control: true,
        triton_metrics: true,
        engine: Some(EngineChoice::Tract),
        device: Some(DeviceChoice::Named(Device::Cpu)),
        onnxruntime: Some(PathBuf::from("lib.so")),
        log_format: Some(LogFormat::Json),
        log_level: Some("warn,onnxd=debug".to_owned()),
        trace_endpoint: Some("http://c:4318".to_owned()),
        shutdown_grace: Some(Duration::from_secs(5)),
        shutdown_deadline: Some(Duration::from_secs(60)),
    };
    assert_eq!(served(line), expected);
    assert_eq!(served("serve"), Overrides::default());
}

#[test]
fn check_takes_what_serve_takes() {
    let options = |name: &str| -> Vec<String> {
        let command = Arguments::command();
        let command = command.find_subcommand(name).expect("a subcommand").clone();
        command.get_opts().map(|option| option.get_id().to_string()).collect()
    };
    let shared: Vec<String> = options("check").into_iter().filter(|id| id != "json").collect();
    assert_eq!(options("serve"), shared);
}

#[test]
fn long_options_are_whole_words_and_alone() {
    let command = Arguments::command();
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        for option in command.get_opts().filter(|option| option.get_long() != Some("help")) {
            assert!(option.get_short().is_none(), "{option}");
            let long = option.get_long().expect("a long option");
            let is_lower = |word: &str| word.chars().all(|c| c.is_ascii_lowercase());
            let sound = |word: &str| (word.len() >= 3 || word == "no") && is_lower(word);
            assert!(long.split('-').all(sound), "{long}");
            assert!(option.get_help().is_some(), "{long}");
        }
    }
}

#[test]
fn wrong_words_are_told_apart_and_end_with_2() {
    let table = [
        ("", "Usage: onnxd"),
        ("server", "similar subcommand exists: 'serve'"),
        ("serve --modle x", "similar argument exists: '--model'"),
        ("serve --mod x", "unexpected argument '--mod'"),
        ("serve --listen here", "cannot listen on \"here\""),
        ("serve --model =x", "expected PATH or NAME=PATH, got \"=x\""),
        ("serve --engine torch", "unknown engine \"torch\""),
        ("serve --device gpu", "unknown device \"gpu\""),
        ("serve --network-threads 0", "expected a whole number from 1 to 256, got \"0\""),
        ("serve --max-body big", "expected a size such as 64MiB"),
        ("serve --log-level loud", "log level \"loud\""),
        ("serve --log-format xml", "unknown log format \"xml\""),
        ("serve --trace-endpoint ftp://x", "OTLP endpoint \"ftp://x\""),
        ("serve --shutdown-grace 5", "expected a duration such as 10s"),
        ("inspect", "<MODEL>"),
        ("models", "--repository <DIR>"),
        ("completions tcsh", "possible values: bash, elvish, fish, powershell, zsh"),
        ("bench", "<MODEL>"),
        ("bench m --seconds 0", "expected a number of seconds from 0.05 to 3600, got \"0\""),
        ("bench m --seconds NaN", "expected a number of seconds"),
        ("new", "transformer"),
        ("new mlp m.onnx --outputs 2", "--inputs <COUNT>"),
        ("new mlp m.onnx --inputs 4 --outputs 2 --activation swish", "unknown activation"),
        ("new cnn m.onnx --inputs 3 --outputs 2", "expected CHANNELS,HEIGHT,WIDTH"),
        ("bench m --connections 0", "0 is not in 1..=4000"),
    ];
    for (line, expected) in table {
        let (message, code) = typed(line).expect_err(line);
        assert!(message.contains(expected), "{line}: {message}");
        assert_eq!(code, 2, "{line}");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for line in ["--help", "--version", "help serve", "serve --help", "runtime install --help"] {
        let (message, code) = typed(line).expect_err(line);
        assert_eq!(code, 0, "{line}");
        assert!(message.contains("onnxd"), "{line}: {message}");
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_the_subcommands() {
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::Powershell, Shell::Zsh] {
        let script = String::from_utf8(completions(shell)).expect("scripts are text");
        for word in ["serve", "inspect", "repository", "allow-repository-control"] {
            assert!(script.contains(word), "{shell:?}: {word}");
        }
    }
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let pages = manual_pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "onnxd.1",
        "onnxd-serve.1",
        "onnxd-check.1",
        "onnxd-finetune.1",
        "onnxd-gradient.1",
        "onnxd-new.1",
        "onnxd-new-mlp.1",
        "onnxd-new-cnn.1",
        "onnxd-new-transformer.1",
        "onnxd-inspect.1",
        "onnxd-models.1",
        "onnxd-bench.1",
        "onnxd-runtime.1",
        "onnxd-runtime-install.1",
        "onnxd-runtime-show.1",
        "onnxd-completions.1",
        "onnxd-man.1",
    ];
    assert_eq!(names, expected);
    let serve = String::from_utf8(pages[1].1.clone()).expect("pages are text");
    assert!(serve.contains(".TH onnxd-serve 1") && serve.contains("\\-\\-repository"), "{serve}");
}
