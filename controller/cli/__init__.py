"""The command `ballast`. Commands import what they need when run: help is quick, `run` stays small."""
