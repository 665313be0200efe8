"""`python -m overdrive`."""

from overdrive.cli import main

if __name__ == "__main__":
    main(prog_name="python -m overdrive")
