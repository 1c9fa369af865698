//! Talking to the running runner.

use std::io;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::context::Context;
use super::error::CliError;
use crate::daemon::control::{Client, Reply, Request};
use crate::os::lock::Lock;

/// The PID of the runner that has this logs directory, if one runs.
pub(super) fn running(context: &Context) -> Option<i32> {
    Lock::holder(&context.layout().lock()).ok().flatten()
}

/// Asks the running runner; `None` if there is none.
pub(super) fn ask_if_running(context: &Context, request: &Request) -> Result<Option<Value>, CliError> {
    if running(context).is_none() {
        return Ok(None);
    }
    match Client::ask(&context.layout().socket(), request) {
        Ok(mut client) => first_reply(&mut client).map(Some),
        // It holds the lock without listening: `runner run` on its own, or one that is starting or ending.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(CliError::failed(format!("the running runner cannot be asked: {error}"))),
    }
}

/// The zone in which times are meant that name none: the running runner's, else what the files say.
pub(super) fn zone(context: &Context) -> TimeZone {
    let status = ask_if_running(context, &Request::Status).ok().flatten();
    let name = status.as_ref().and_then(|status| status["timezone"].as_str());
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(|| context.zone())
}

/// Says on standard error what the running runner adds to its answer.
pub(super) fn say_notice(answer: &Value) {
    if let Some(notice) = answer["notice"].as_str() {
        anstream::eprintln!("note: {notice}");
    }
}

/// Asks the running runner; it is an error if there is none.
pub(super) fn ask(context: &Context, request: &Request) -> Result<(i32, Value), CliError> {
    let (pid, mut client) = connect(context, request)?;
    Ok((pid, first_reply(&mut client)?))
}

/// Connects to the running runner and asks.
pub(super) fn connect(context: &Context, request: &Request) -> Result<(i32, Client), CliError> {
    let socket = context.layout().socket();
    let Some(pid) = running(context) else {
        return Err(CliError::failed(format!(
            "no runner is running with the logs directory {}",
            context.paths.logs.display()
        ))
        .help("`runner start` starts one; -C and --logs say where to look"));
    };
    let client = Client::ask(&socket, request).map_err(|error| {
        CliError::failed(format!("the runner with PID {pid} does not answer at {}: {error}", socket.display()))
    })?;
    Ok((pid, client))
}

pub(super) fn first_reply(client: &mut Client) -> Result<Value, CliError> {
    match client.next_reply()? {
        Some(Reply::Ok(value)) => Ok(value),
        Some(Reply::Error(error)) => Err(CliError::failed(error)),
        None => Err(CliError::failed("the runner ended before it answered")),
    }
}
