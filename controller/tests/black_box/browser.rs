//! A headless Chromium: commands of the DevTools protocol go in over a pipe, answers come out. One browser a test, with a
//! profile of its own, that knows nobody but the program under test.

use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running browser with one page.
pub(crate) struct Browser {
    process: Child,
    commands: File,
    answers: BufReader<File>,
    session: String,
    number: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with an empty page. Pages run their scripts or do not.
    pub(crate) fn start(scripts: bool) -> Self {
        let profile = TempDir::new().unwrap();
        let pipe = |name: &str| profile.path().join(name);
        for name in ["commands", "answers"] {
            let made = Command::new("mkfifo").arg(pipe(name)).status().unwrap();
            assert!(made.success(), "mkfifo");
        }
        // The protocol is spoken over the descriptors 3 and 4.
        let process = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<\"$COMMANDS\" 4>\"$ANSWERS\"", "sh"])
            .args(["--remote-debugging-pipe", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1400,1200"])
            .arg(format!("--user-data-dir={}", pipe("profile").display()))
            .env("COMMANDS", pipe("commands"))
            .env("ANSWERS", pipe("answers"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let (commands, answers) = (open(&pipe("commands"), false), open(&pipe("answers"), true));
        let answers = BufReader::new(answers);
        let mut browser = Self { process, commands, answers, session: String::new(), number: 0, _profile: profile };
        let target = browser.command("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.command("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser.command("Page.enable", json!({}));
        browser.command("Emulation.setScriptExecutionDisabled", json!({"value": !scripts}));
        browser
    }

    /// Goes to a URL and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({"url": url}));
        self.until("the page is loaded", "document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression; the debugger runs it also where the page's own scripts are switched off.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let evaluate = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.command("Runtime.evaluate", evaluate);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer:#}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, what: &str, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(expression) != json!(true) {
            let text = if Instant::now() < deadline { None } else { Some(self.value("document.body.innerText")) };
            assert!(
                text.is_none(),
                "{what} ({expression}) does not come true; the page:\n{}",
                text.unwrap_or_default()
            );
            std::thread::sleep(POLL);
        }
    }

    fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut message = Vec::new();
            self.answers.read_until(0, &mut message).unwrap();
            assert_eq!(message.pop(), Some(0), "the browser has ended; is the package chromium installed?");
            let mut message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message:#}");
                return message["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends with its pipe, or by force.
        let close = json!({"id": 0, "method": "Browser.close"});
        drop(self.commands.write_all(format!("{close}\0").as_bytes()));
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(POLL);
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Waits until the other end is open, as pipes do.
fn open(path: &Path, read: bool) -> File {
    OpenOptions::new().read(read).write(!read).open(path).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
