"""Writes what the CRD and its page say of the fields of policies."""

from generating.spec import files

if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
