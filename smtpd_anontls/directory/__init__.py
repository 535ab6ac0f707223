"""Where msExchServerInternalTLSCert of a server object is read, and written."""
