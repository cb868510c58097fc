//! `max_batch_size` and `dynamic_batching`.
//!
//! What they mean in Triton, and here:
//! - `max_batch_size: 0` is a model without a batch axis: served unbatched.
//! - `max_batch_size: N` without `dynamic_batching` runs each request alone, whatever rows it
//!   has: served unbatched too, since requests here always have the model's full shape.
//! - `max_batch_size: N` with `dynamic_batching` batches, here once the proof at load holds.
//! - `dynamic_batching` without `max_batch_size`, or neither: Triton completes such a
//!   configuration from the model; here the daemon's defaults and the proof decide.

use std::time::Duration;

use super::super::model::{MOST_ENTRIES, MOST_PRIORITIES, MOST_QUEUED, MOST_ROWS};
use super::reader::Fields;
use crate::batching::{BatchingMode, BatchingSettings};

/// The longest delay or timeout taken: a year.
const MOST_MICROSECONDS: i64 = 366 * 24 * 3600 * 1_000_000;

pub(super) fn map(root: &Fields<'_>, batching: &mut BatchingSettings) {
    let rows = root.count("max_batch_size", MOST_ROWS);
    let dynamic = root.message("dynamic_batching");
    match (rows, &dynamic) {
        (Some(0), Some(_)) => {
            batching.mode = BatchingMode::Off;
            root.warn("dynamic_batching", "max_batch_size is 0, the model is served unbatched");
        }
        (Some(0), None) | (Some(_), None) => batching.mode = BatchingMode::Off,
        (Some(rows), Some(_)) => {
            batching.max_batch_size = Some(rows);
            turn_on(batching);
        }
        (None, Some(_)) => turn_on(batching),
        (None, None) => (),
    }
    if let Some(dynamic) = dynamic {
        map_dynamic(&dynamic, batching);
    }
}

/// Asked for by the model's configuration, batching is on even where the daemon's default is off.
fn turn_on(batching: &mut BatchingSettings) {
    if batching.mode == BatchingMode::Off {
        batching.mode = BatchingMode::Proven;
    }
}

fn map_dynamic(dynamic: &Fields<'_>, batching: &mut BatchingSettings) {
    let most_rows = i64::try_from(MOST_ROWS).unwrap_or(i64::MAX);
    let preferred = dynamic.integers("preferred_batch_size", 1..=most_rows);
    if preferred.len() > MOST_ENTRIES {
        let reason = format!("expected at most {MOST_ENTRIES} sizes");
        dynamic.refuse("preferred_batch_size", reason);
    } else if !preferred.is_empty() {
        let sizes = preferred.into_iter().filter_map(|size| usize::try_from(size).ok());
        batching.preferred_batch_sizes = sizes.collect();
    }
    let above = |most: usize| batching.preferred_batch_sizes.iter().find(|size| **size > most);
    if let Some(size) = batching.max_batch_size.and_then(above) {
        let reason = format!("{size} is above max_batch_size");
        dynamic.refuse("preferred_batch_size", reason);
    }
    if let Some(delay) = microseconds(dynamic, "max_queue_delay_microseconds") {
        batching.max_queue_delay = delay;
    }
    map_priorities(dynamic, batching);
    if let Some(policy) = dynamic.message("default_queue_policy") {
        map_queue_policy(&policy, batching);
    }
    let order = "responses leave as soon as they are ready";
    dynamic.ignore_if_true("preserve_ordering", order);
    let one_policy = "all priorities wait in one queue, under default_queue_policy";
    dynamic.ignore("priority_queue_policy", one_policy);
}

fn map_priorities(dynamic: &Fields<'_>, batching: &mut BatchingSettings) {
    let most = i64::from(MOST_PRIORITIES);
    let number = |field| {
        let number = dynamic.integer(field, 0..=most)?;
        u32::try_from(number).ok()
    };
    let (levels, default) = (number("priority_levels"), number("default_priority_level"));
    let Some(levels) = levels.or(default.map(|_| 0)) else { return };
    let default = default.unwrap_or(0);
    batching.priority_levels = levels;
    // A request that says nothing is the least urgent.
    batching.default_priority = if default == 0 { levels } else { default };
    if default > levels {
        let reason = format!("{default} is beyond the {levels} priority_levels");
        dynamic.refuse("default_priority_level", reason);
    }
}

fn map_queue_policy(policy: &Fields<'_>, batching: &mut BatchingSettings) {
    if policy.choice("timeout_action", &["REJECT", "DELAY"]) == Some("DELAY") {
        policy.warn("timeout_action", "a request whose deadline passed is refused");
    }
    if let Some(timeout) = microseconds(policy, "default_timeout_microseconds") {
        batching.default_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
    }
    // In Triton an override may only shorten the timeout, and without it a request's own timeout
    // means nothing. Here a shorter one always counts: the client says how long it waits.
    policy.boolean("allow_timeout_override");
    batching.allow_timeout_override = false;
    match policy.count("max_queue_size", MOST_QUEUED) {
        Some(0) => policy.warn("max_queue_size", "queues are bounded, the daemon's limit holds"),
        Some(size) => batching.max_queue_size = size,
        None => (),
    }
}

fn microseconds(fields: &Fields<'_>, name: &'static str) -> Option<Duration> {
    let number = fields.integer(name, 0..=MOST_MICROSECONDS)?;
    u64::try_from(number).ok().map(Duration::from_micros)
}
