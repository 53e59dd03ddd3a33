"""The command `ballast`. Commands import what they need when they run, so that help is quick and `run` stays small."""
