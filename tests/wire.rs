//! The wire, with curl on the other side: HTTP/1.1 and h2c, compression both ways, unix sockets,
//! several addresses at once.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::debian::{installed_program, run};
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::fp32;

const ROWS: usize = 500;

fn serve(more: &[&str]) -> (Repository, Daemon) {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let daemon = repository.serve("tract", more);
    (repository, daemon)
}

/// What curl printed, and what it says of the transfer.
struct Transfer {
    body: Vec<u8>,
    status: String,
    http_version: String,
    encoding: String,
    /// Bytes of the body on the wire.
    size: usize,
    connections: String,
}

fn curl(arguments: &[&str]) -> Transfer {
    let written = "\n%{http_code} %{http_version} %header{content-encoding}; %{size_download} \
                   %{num_connects}";
    let mut command = Command::new(installed_program("curl", "curl"));
    command.args(["--silent", "--show-error", "--max-time", "60", "--write-out", written]);
    let output = run(command.args(arguments)).unwrap_or_else(|error| panic!("{error}"));
    let end = output.stdout.iter().rposition(|byte| *byte == b'\n').expect("the last line");
    let facts = String::from_utf8_lossy(&output.stdout[end + 1..]).into_owned();
    let (first, second) = facts.split_once(';').expect("as written");
    let first: Vec<&str> = first.split(' ').collect();
    let second: Vec<&str> = second.split_whitespace().collect();
    Transfer {
        body: output.stdout[..end].to_vec(),
        status: first[0].to_owned(),
        http_version: first[1].to_owned(),
        encoding: first[2].to_owned(),
        size: second[0].parse().expect("a number"),
        connections: second[1].to_owned(),
    }
}

fn request_body() -> Vec<u8> {
    let values: Vec<f32> = (0..ROWS * 4).map(|value| (value % 7) as f32).collect();
    json!({"inputs": [fp32("x", &[ROWS, 4], &values)]}).to_string().into_bytes()
}

fn assert_right(body: &[u8]) {
    let answer: Value = serde_json::from_slice(body).expect("JSON");
    let expected: Vec<f32> = (0..ROWS * 4).map(|value| (value % 7) as f32 * 2.0 + 1.0).collect();
    assert_eq!(answer["outputs"][0]["data"], json!(expected));
}

fn compressed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    let written = match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        _ => zstd::encode_all(bytes, 3),
    };
    written.expect("memory takes it")
}

fn file(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the folder is writable");
    format!("@{}", path.display())
}

#[test]
fn bodies_are_compressed_both_ways_over_both_versions_of_http() {
    let (repository, daemon) = serve(&[]);
    let url = format!("http://{}/v2/models/affine/infer", daemon.address);
    let body = request_body();
    for encoding in ["gzip", "deflate", "zstd"] {
        let data = file(repository.path(), encoding, &compressed(encoding, &body));
        for (option, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
            let told = format!("Content-Encoding: {encoding}");
            let asked = format!("Accept-Encoding: {encoding}");
            let transfer = curl(&[
                option,
                "--header",
                &told,
                "--header",
                &asked,
                "--compressed",
                "--header",
                "Content-Type: application/json",
                "--data-binary",
                &data,
                &url,
            ]);
            let what = format!("{encoding} over HTTP/{version}");
            assert_eq!(transfer.status, "200", "{what}");
            assert_eq!(transfer.http_version, version, "{what}");
            assert_eq!(transfer.encoding, encoding, "{what}");
            assert!(transfer.size < transfer.body.len() / 2, "{what}: {} bytes", transfer.size);
            assert_right(&transfer.body);
        }
    }
}

#[test]
fn an_upgrade_that_is_not_offered_leaves_the_request_answered() {
    let (repository, daemon) = serve(&[]);
    let url = format!("http://{}/v2/models/affine/infer", daemon.address);
    let data = file(repository.path(), "body", &request_body());
    // curl asks for an upgrade to h2c; a server may pass over it.
    let transfer = curl(&["--http2", "--data-binary", &data, &url]);
    assert_eq!(transfer.status, "200");
    assert_right(&transfer.body);
}

#[test]
fn connections_are_kept_for_the_next_request() {
    let (_repository, daemon) = serve(&[]);
    let url = format!("http://{}/v2/health/live", daemon.address);
    // What is said of the last transfer: it needed no connection of its own. (Over h2c, curl 7.88
    // fails at that with any server; the module `http2` has a client that does not.)
    let transfer = curl(&["--http1.1", &url, &url, &url]);
    assert_eq!((transfer.status.as_str(), transfer.connections.as_str()), ("200", "0"));
}

#[test]
fn every_address_given_is_listened_on_unix_sockets_included() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let socket = folder.path().join("onnxd.sock");
    let unix = format!("unix:{}", socket.display());
    // The helper gives one address already.
    let (repository, daemon) = serve(&["--listen", "127.0.0.1:0", "--listen", &unix]);
    let listening = daemon.events("listening");
    let addresses: Vec<&str> =
        listening.iter().filter_map(|event| event["address"].as_str()).collect();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    assert_eq!(addresses[2], unix);
    assert_ne!(addresses[0], addresses[1]);
    let data = file(repository.path(), "body", &request_body());
    for address in &addresses[..2] {
        let url = format!("http://{address}/v2/models/affine/infer");
        assert_right(&curl(&["--data-binary", &data, &url]).body);
    }
    let path = socket.to_str().expect("a UTF-8 path");
    for option in ["--http1.1", "--http2-prior-knowledge"] {
        let url = "http://localhost/v2/models/affine/infer";
        let arguments = [option, "--unix-socket", path, "--data-binary", &data, url];
        assert_right(&curl(&arguments).body);
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    // Whether its file is still there or not, the address can be listened on again.
    let (_repository, again) = serve(&["--listen", &unix]);
    let transfer = curl(&["--unix-socket", path, "http://localhost/v2/health/ready"]);
    assert_eq!(transfer.status, "200");
    drop(again);
}
