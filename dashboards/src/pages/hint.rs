//! What the figures suggest: scale out, or look at prices. Each hint says which figure crossed which threshold.
