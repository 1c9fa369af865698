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

/// What can be asked of a running runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Request {
    Status,
    List(Query),
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
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Ok(Value),
    Error(String),
}

const LONGEST_REQUEST: u64 = 1024 * 1024;

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
        Self { task: tokio::spawn(serve(listener, events, guard)), busy }
    }

    /// Takes no more connections, and lets the answers go out that are on their way.
    pub async fn finish(mut self, patience: Duration) {
        self.task.abort();
        let _ = tokio::time::timeout(patience, self.busy.recv()).await;
    }
}

async fn serve(listener: UnixListener, events: UnboundedSender<Event>, guard: Sender<()>) {
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
            if reader.read_until(b'\n', &mut line).await.is_err() {
                return;
            }
            // From now on an answer is owed.
            let Some(_guard) = guard.upgrade() else { return };
            let (reply, mut replies) = unbounded_channel();
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => {
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

    /// The next answer; `None` when there will be no more.
    pub fn next_reply(&mut self) -> io::Result<Option<Reply>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(io::Error::from)
    }
}
