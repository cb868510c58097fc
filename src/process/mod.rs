//! What any unix daemon needs.
