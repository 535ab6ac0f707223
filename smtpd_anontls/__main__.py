"""``python -m smtpd_anontls``."""

from smtpd_anontls.cli import main

if __name__ == "__main__":
    main(prog_name="smtpd-anontls")
