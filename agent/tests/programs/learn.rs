//! Addresses of names, learned from the answers that pods receive.

mod bounds;
mod cost;
mod distrusted;
mod messages;
mod overlay;
mod scene;
mod taught;
mod together;
mod unread;
