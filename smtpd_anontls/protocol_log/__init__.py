"""The SMTP Receive protocol log: RECVyyyymmddhh-n.LOG, as Exchange writes it."""
