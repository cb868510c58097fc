//! An engine that obeys a script: what tests of the layers above run on.
