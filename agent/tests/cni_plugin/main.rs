//! The CNI side over real network namespaces, with a data path that only remembers what it was told. Needs root.

mod attach;
mod clean_up;
mod hostile;
mod node;
mod plugin_binary;
mod recovery;
mod results;
