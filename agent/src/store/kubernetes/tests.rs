mod cache;
mod failures;
