//! Tests of the parts together: `simulation` turns the crank of catalogue and policy by hand,
//! `manager` runs the real threads on an engine that does what a model's file says, `service` is
//! what requests see of it.

mod manager;
mod service;
mod simulation;
mod support;
