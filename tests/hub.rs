//! Weights from the Hugging Face Hub: from a server on this machine that answers like it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use assert_cmd::Command;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

/// Serves `pytorch_model.bin` of `owner/model`; counts what it is asked for.
fn serve(file: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (file, count) = (file.clone(), count.clone());
            thread::spawn(move || answer(stream, &file, &count));
        }
    });
    (address, asked)
}

/// Answers the requests of one connection.
fn answer(stream: TcpStream, file: &[u8], asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_lowercase());
        }
        asked.fetch_add(1, Ordering::SeqCst);
        if !lines[0].starts_with("get /owner/model/resolve/main/pytorch_model.bin ") {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
            continue;
        }
        let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes="));
        let (first, last) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
        let first: usize = first.parse().unwrap();
        let last = last.parse().unwrap_or(file.len() - 1).min(file.len() - 1);
        let body = &file[first..=last];
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{}\r\nETag: \"etag\"\r\n\
             x-repo-commit: 0123456789abcdef\r\n\r\n",
            body.len(),
            file.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    }
}

#[test]
fn weights_are_fetched_once_and_found_offline() {
    let mut bytes = Vec::new();
    fs::File::open(fixture("network.pth")).unwrap().read_to_end(&mut bytes).unwrap();
    let (endpoint, asked) = serve(bytes);
    let folder = tempfile::tempdir().unwrap();
    let import = |address: &str, out: &str, offline: &str| {
        let mut command = Command::cargo_bin("ocellus").unwrap();
        for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command.current_dir(folder.path()).env("HF_ENDPOINT", &endpoint).env("HF_HOME", folder.path().join("hub"));
        command.env("HF_HUB_OFFLINE", offline).env_remove("HF_HUB_CACHE").env_remove("HF_TOKEN");
        command.arg("import").arg(fixture("network.toml")).args(["--weights", address, "--classes", "5", "--out", out]);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, error) = import("hf://owner/model", "offline", "1");
    assert!(!done && error.contains("HF_HUB_OFFLINE forbids it") && asked.load(Ordering::SeqCst) == 0, "{error}");
    let (done, error) = import("hf://owner/model", "first", "0");
    assert!(done, "{error}");
    assert!(asked.load(Ordering::SeqCst) > 0);
    let before = asked.load(Ordering::SeqCst);
    for (address, offline) in
        [("hf://owner/model", "0"), ("hf://owner/model", "1"), ("hf://owner/model/pytorch_model.bin", "1")]
    {
        let out = format!("again-{}", fs::read_dir(folder.path()).unwrap().count());
        let (done, error) = import(address, &out, offline);
        assert!(done, "{error}");
        let weights = |run: &str| fs::read(folder.path().join(run).join("best.safetensors")).unwrap();
        assert!(weights(&out) == weights("first"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), before, "what was fetched once is not fetched again");
    let (done, error) = import("hf://owner/other", "none", "0");
    assert!(!done && error.contains("hf://owner/other could not be fetched"), "{error}");
    let (done, error) = import("hf://owner", "none", "0");
    assert!(!done && error.contains("is not hf://OWNER/NAME"), "{error}");
}
