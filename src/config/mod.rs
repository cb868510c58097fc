//! Text to settings: `file` (as written), `validate` (all problems at once), `triton`.
