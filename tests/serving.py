"""A server on this machine, from which tests download."""

import http.server
import sys


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # torchvision looks for redirects by a request whose answer it does not read to the end.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
