//! A page as a browser shows it: headless Chromium, spoken to over a pipe in its own protocol.
//!
//! It has no network, and whatever a page asks for, prints to the console or does of its own accord is a
//! complaint. What a page looks like is deliberately not compared: a test asks what stands on it.
//!
//! Where apt has no Chromium, as on Ubuntu, a test is skipped and says so; where apt has one that is not
//! installed, it fails.

use crate::atcost::utf8;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Duration;
use tempfile::TempDir;

/// No answer of a browser may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// The browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// The id of the last command.
    last: u64,
    session: Option<String>,
    /// The address of the page that is open.
    address: String,
    complaints: Vec<String>,
    profile: TempDir,
}

impl Browser {
    /// Starts it; none, and a line that says so, where there is none to be had.
    ///
    /// # Panics
    /// Where it could be had, or does not start.
    pub fn start() -> Option<Self> {
        let name = installed()?;
        let profile = tempfile::tempdir().expect("the machine has room for a folder");
        let log = fs::File::create(profile.path().join("log")).expect("the folder can be written");
        // It reads commands from the third file and writes answers to the fourth.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh", &name])
            .args(["--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"])
            // Its sandbox needs what a container has not, and the pages are ours.
            .args(["--no-sandbox", "--disable-dev-shm-usage"])
            // There is no network: names are unknown, and the proxy is nobody.
            .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", utf8(profile.path())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("sh starts");
        let commands = child.stdin.take().expect("stdin is piped");
        let answers = child.stdout.take().expect("stdout is piped");
        let (sender, messages) = channel();
        spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { return };
                let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (address, complaints) = (String::new(), Vec::new());
        let mut browser =
            Self { child, commands, messages, last: 0, session: None, address, complaints, profile };
        let target = browser.command("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.command("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.command(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Opens a file and waits until it is there.
    #[track_caller]
    pub fn open(&mut self, file: &Path) {
        self.address = format!("file://{}", utf8(file));
        self.command("Page.navigate", json!({ "url": self.address }));
        let is_there = json!({
            "awaitPromise": true, "returnByValue": true,
            "expression": "new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', () => done()))",
        });
        self.command("Runtime.evaluate", is_there);
        let address = self.ask("location.href");
        assert_eq!(address, self.address.as_str(), "the page was opened");
    }

    /// A screen of a width in pixels, light or dark.
    pub fn screen(&mut self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", scheme);
    }

    /// The value of an expression of JavaScript, which no page of ours has itself.
    #[track_caller]
    pub fn ask(&mut self, expression: &str) -> Value {
        let answer =
            self.command("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// The text of each page on paper, as another program reads it.
    #[track_caller]
    pub fn paper(&mut self) -> Vec<String> {
        let answer = self
            .command("Page.printToPDF", json!({ "preferCSSPageSize": true, "displayHeaderFooter": false }));
        let pdf = from_base64(answer["data"].as_str().expect("it is printed"));
        let file = self.profile.path().join("paper.pdf");
        fs::write(&file, pdf).expect("the folder can be written");
        let output = Command::new("pdftotext").args(["-layout", utf8(&file), "-"]).output();
        let output = output.expect("pdftotext is there: `make test` installs poppler-utils");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim_end_matches('\u{c}').split('\u{c}').map(str::to_owned).collect()
    }

    /// What was asked for, printed or done by the pages until now. Nothing is right.
    pub fn complaints(&mut self) -> Vec<String> {
        // What happened before an answer has been told before it.
        self.ask("0");
        std::mem::take(&mut self.complaints)
    }

    #[track_caller]
    fn command(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        if self.commands.write_all(&bytes).is_err() {
            panic!("{method}: the browser is gone: {}", self.log());
        }
        loop {
            let Ok(message) = self.messages.recv_timeout(LIMIT) else {
                panic!("{method}: the browser does not answer: {}", self.log());
            };
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.listen(&message);
        }
    }

    fn listen(&mut self, message: &Value) {
        let params = &message["params"];
        let complaint = match message["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" if params["request"]["url"] == self.address.as_str() => return,
            "Network.requestWillBeSent" => format!("asks for {}", params["request"]["url"]),
            "Runtime.exceptionThrown" => format!("throws {}", params["exceptionDetails"]),
            "Runtime.consoleAPICalled" => format!("prints {}", params["args"]),
            "Log.entryAdded" => format!("logs {}", params["entry"]["text"]),
            "Page.javascriptDialogOpening" => format!("says {}", params["message"]),
            _ => return,
        };
        self.complaints.push(complaint);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.profile.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The name of the Chromium that is installed; none, and a line that says so, where apt has none.
fn installed() -> Option<String> {
    let run = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).output().expect("sh starts");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let found = run("command -v chromium || command -v google-chrome");
    if !found.is_empty() {
        return Some(found);
    }
    let candidate = run("LC_ALL=C apt-cache policy chromium 2>/dev/null | sed -n 's/ *Candidate: //p'");
    assert!(
        candidate.is_empty() || candidate == "(none)",
        "Chromium is missing, and apt has {candidate}: `make test` installs it"
    );
    // Past the harness, which keeps what a test that passes has printed.
    let said = std::io::stderr()
        .write_all(b"skipped: there is no Chromium here, and apt has none; no page was looked at\n");
    said.expect("stderr can be written");
    None
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is not base64"),
    };
    let digits: Vec<u32> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let bytes = |four: &[u32]| {
        let bits = (0..4).fold(0, |bits, at| (bits << 6) | four.get(at).copied().unwrap_or_default());
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YWJjZA==", "abcd")]
        {
            assert_eq!(from_base64(text), bytes.as_bytes());
        }
    }

    #[test]
    fn whatever_a_page_does_is_a_complaint() {
        let Some(mut browser) = Browser::start() else { return };
        let folder = tempfile::tempdir().expect("the machine has room for a folder");
        let file = folder.path().join("page.html");
        let page =
            "<title>t</title><img src='http://a.example/x.png'><script>console.log('hello'); oh()</script>";
        fs::write(&file, page).expect("the folder can be written");
        browser.open(&file);
        let complaints = browser.complaints().join("\n");
        for wanted in ["asks for \"http://a.example/x.png\"", "prints", "hello", "throws"] {
            assert!(complaints.contains(wanted), "{wanted}: {complaints}");
        }
        fs::write(&file, "<title>t</title>nothing").expect("the folder can be written");
        browser.open(&file);
        assert_eq!(browser.complaints(), [""; 0]);
        assert_eq!(browser.ask("document.body.innerText"), "nothing");
    }
}
