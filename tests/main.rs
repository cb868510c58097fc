//! The daemon from outside: one binary, a sentence per module.

/// What was sent is what is counted.
mod accounting;
/// Who imports whom, where foreign crates and unsafe code live, how long files are.
mod architecture;
/// Model files that cannot be served, beside one that can.
mod bad_models;
/// Every bad request is told what is wrong with it, and harms nobody.
mod bad_requests;
/// A model is measured by the command that is there for it.
mod bench;
/// Bodies: chunked, large, compressed, over the limit.
mod bodies;
/// Slow, silent and too many clients of the real binary.
mod clients;
/// The commands beside `serve`: results, exit codes, everything that is wrong at once.
mod commands;
/// The model repository extension on the real binary.
mod control;
/// What the server says of itself and its models, in both protocols.
mod documents;
/// A model and data in, a better model out.
mod finetune;
/// What a model's folder says, and what the daemon makes of it.
mod folder;
/// Answers that are known are asked for before a version serves.
mod golden;
/// Routes, statuses and forms of HTTP.
mod http;
/// HTTP/2 without TLS.
mod http2;
/// Bodies of all connections together stay within one limit.
mod inflight;
/// What a model's instances do with what waits.
mod instances;
/// How a model is laid out: measured, kept, shown, or fixed.
mod layout;
/// What is said while a model loads, and a stop that does not wait for it.
mod loading;
/// What metrics say is what is so.
mod metrics;
/// The alert rules and the dashboard use what the daemon exports, and nothing else.
mod monitoring;
/// The OpenAPI document is valid, and true.
mod openapi;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
/// A real Prometheus scrapes the daemon and answers questions about it.
mod prometheus;
/// Models whose rows influence each other are found out; all others are batched.
mod proof;
/// A server's threads give signs of life, and one that hangs is named.
mod pulse;
/// Ready means that every model is.
mod readiness;
/// Real models that others made, on both engines.
mod real_models;
/// SIGHUP takes up what has changed; a bad configuration changes nothing.
mod reload;
/// The repository over HTTP: index, load, unload, and a reload under load.
mod repository_control;
/// ONNX Runtime and devices: put in place and picked up, or refused with the reason.
mod runtime;
/// The daemon as a user meets it: start, right answers, clear refusals, a clean stop.
mod serve;
/// The protocols of a service manager, with the real binary.
mod service;
/// Requests, loads and faults in an order that nobody thought of.
mod simulation;
/// Where models come from.
mod sources;
/// Models to start from are sound, and the same on both engines.
mod starters;
mod support;
/// Every type and shape, on both engines.
mod tensors;
/// Requests that are traced, at a collector of the tests' own.
mod traced_requests;
/// Spans are what the OpenTelemetry protocol's own definitions say they are.
mod traces;
/// Triton's `config.pbtxt`, end to end.
mod triton_repository;
/// NVIDIA's own client works unchanged.
mod tritonclient;
/// The systemd units are valid, and leave the daemon no more rights than it needs.
mod units;
/// Requests in a queue: limits, deadlines, priorities, clients that leave.
mod waiting;
/// The wire, with curl on the other side.
mod wire;
