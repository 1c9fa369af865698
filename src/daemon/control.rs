//! `logs/runner.sock`: one JSON request a connection, one or more JSON answers, each on a line.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinHandle;

use super::event::Event;
use super::view::Query;
use crate::model::{JobName, RunId, serde_rfc3339};
use crate::watch::Selection;

/// What can be asked of a running runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Request {
    Status,
    List(Query),
    /// What is in force, for those who work out more from it.
    Loaded {
        /// This job alone.
        #[serde(default)]
        job: Option<String>,
    },
    Reload,
    Stop,
    Run {
        job: JobName,
        #[serde(default)]
        args: Vec<String>,
        /// A second answer when the run has ended.
        #[serde(default)]
        wait: bool,
    },
    Cancel {
        run: RunId,
    },
    Pause {
        job: JobName,
        #[serde(with = "serde_rfc3339::option", default)]
        until: Option<Timestamp>,
    },
    Resume {
        job: JobName,
    },
    /// Files of a watch are run for again.
    Replay {
        job: JobName,
        selection: Selection,
        #[serde(default)]
        dry_run: bool,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Ok(Value),
    Error(String),
}

const LONGEST_REQUEST: u64 = 1024 * 1024;
/// How long whoever connects may take to send a request.
const PATIENCE_WITH_ASKERS: Duration = Duration::from_secs(30);

/// Answers connections; each request becomes an event of the loop.
#[derive(Debug)]
pub(super) struct Server {
    task: JoinHandle<()>,
    /// Closed once nobody holds its other end: when all answers are written.
    busy: Receiver<()>,
}

impl Server {
    pub fn start(listener: UnixListener, events: UnboundedSender<Event>) -> Self {
        let (guard, busy) = channel(1);
        Self { task: tokio::spawn(serve(listener, events, guard, PATIENCE_WITH_ASKERS)), busy }
    }

    /// Takes no more connections, and lets the answers go out that are on their way.
    pub async fn finish(mut self, patience: Duration) {
        self.task.abort();
        let _ = tokio::time::timeout(patience, self.busy.recv()).await;
    }
}

async fn serve(listener: UnixListener, events: UnboundedSender<Event>, guard: Sender<()>, patience: Duration) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // No descriptor is left: others must end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let events = events.clone();
        let guard = guard.downgrade();
        tokio::spawn(async move {
            let (reader, mut writer) = stream.split();
            let mut line = Vec::new();
            let mut reader = tokio::io::BufReader::new(reader.take(LONGEST_REQUEST));
            match tokio::time::timeout(patience, reader.read_until(b'\n', &mut line)).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
            // From now on an answer is owed.
            let Some(guard) = guard.upgrade() else { return };
            let (reply, mut replies) = unbounded_channel();
            let mut is_stop = false;
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => {
                    is_stop = request == Request::Stop;
                    if events.send(Event::Request { request, reply }).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _ = reply.send(Reply::Error(format!("this request is not understood: {error}")));
                    drop(reply);
                }
            }
            while let Some(reply) = replies.recv().await {
                let mut bytes = serde_json::to_vec(&reply).unwrap_or_default();
                bytes.push(b'\n');
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            if is_stop {
                // The connection stays until the loop has ended, so that its end tells of that one. Nothing is owed any more.
                drop(guard);
                let mut rest = [0; 64];
                tokio::select! {
                    () = events.closed() => {}
                    () = async { while reader.read(&mut rest).await.is_ok_and(|count| count > 0) {} } => {}
                }
            }
        });
    }
}

/// The other side: a connection to a running runner.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<std::os::unix::net::UnixStream>,
}

impl Client {
    /// Connects and asks.
    pub fn ask(socket: &Path, request: &Request) -> io::Result<Self> {
        let mut stream = crate::os::socket::connect(socket)?;
        let mut bytes = serde_json::to_vec(request)?;
        bytes.push(b'\n');
        stream.write_all(&bytes)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// How long an answer may take; [`Self::next_reply`] then gives an error of the kind `WouldBlock`.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.reader.get_ref().set_read_timeout(Some(patience))
    }

    /// The next answer; `None` when there will be no more.
    pub fn next_reply(&mut self) -> io::Result<Option<Reply>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A server whose patience is short, on a thread of its own; what it takes for requests is passed on.
    fn served(
        patience: Duration,
        talk: impl FnOnce(&Path, &mut tokio::sync::mpsc::UnboundedReceiver<Event>) + Send + 'static,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::bind(&path).unwrap();
            let (sender, mut events) = unbounded_channel();
            let (guard, _busy) = channel(1);
            let server = tokio::spawn(serve(listener, sender, guard.clone(), patience));
            tokio::task::spawn_blocking(move || talk(&path, &mut events)).await.unwrap();
            server.abort();
        });
    }

    const NEVER: Duration = Duration::from_secs(3_600);
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn who_connects_and_asks_nothing_is_let_go_of() {
        served(Duration::from_millis(30), |path, _| {
            for begun in ["", "{\"verb\":"] {
                let mut silent = crate::os::socket::connect(path).unwrap();
                silent.set_read_timeout(Some(LONG)).unwrap();
                silent.write_all(begun.as_bytes()).unwrap();
                assert_eq!(silent.read(&mut [0]).unwrap(), 0);
            }
        });
    }

    #[test]
    fn who_has_asked_may_wait_longer_than_that() {
        served(Duration::from_millis(30), |path, events| {
            let mut client = Client::ask(path, &Request::Status).unwrap();
            let Some(Event::Request { reply, .. }) = events.blocking_recv() else { panic!("no request") };
            // Longer than the patience, as another who asks nothing is shown the door meanwhile.
            let mut silent = crate::os::socket::connect(path).unwrap();
            silent.set_read_timeout(Some(LONG)).unwrap();
            assert_eq!(silent.read(&mut [0]).unwrap(), 0);
            reply.send(Reply::Ok(Value::Null)).unwrap();
            drop(reply);
            assert_eq!(client.next_reply().unwrap(), Some(Reply::Ok(Value::Null)));
            assert_eq!(client.next_reply().unwrap(), None);
        });
    }

    #[test]
    fn who_asked_for_a_stop_sees_the_loops_end() {
        served(NEVER, |path, events| {
            let mut client = Client::ask(path, &Request::Stop).unwrap();
            let Some(Event::Request { reply, .. }) = events.blocking_recv() else { panic!("no request") };
            reply.send(Reply::Ok(Value::Null)).unwrap();
            drop(reply);
            assert_eq!(client.next_reply().unwrap(), Some(Reply::Ok(Value::Null)));
            // All is answered, and the connection stands.
            client.set_patience(Duration::from_millis(50)).unwrap();
            assert!(client.next_reply().is_err());
            client.set_patience(LONG).unwrap();
            events.close();
            assert_eq!(client.next_reply().unwrap(), None);
        });
    }
}
