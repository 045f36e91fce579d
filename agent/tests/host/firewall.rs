//! Real packets through the rules: pods, an external host, another node.
