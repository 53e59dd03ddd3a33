"""The API server's side of the effects: policies and labels in, node states and events out."""
