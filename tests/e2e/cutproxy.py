"""cutproxy.py ADDRESS PORT LISTEN N: forwards connections to ADDRESS:PORT and cuts each when it has carried N TLS records of
application data, both directions counted together. Says "ready", "cut" for each, and "carried N" when a connection has
carried its Nth."""

import os
import socket
import struct
import sys
import threading

TARGET, PORT, LISTEN, LIMIT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
APPLICATION_DATA = 23
SO_MARK = 36


def say(words):
    os.write(1, f"{words}\n".encode())  # at once: there are many threads


class Pair:
    def __init__(self, client):
        self.client, self.count, self.lock, self.over = client, 0, threading.Lock(), False
        self.server = socket.socket()
        self.server.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)  # past the redirection that led here
        self.server.connect((TARGET, PORT))
        for a, b in ((self.client, self.server), (self.server, self.client)):
            threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def read(self, s, n):
        data = b""
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                raise OSError("closed")
            data += more
        return data

    def pump(self, a, b):
        try:
            while True:
                head = self.read(a, 5)
                kind, _, length = struct.unpack("!BHH", head)
                body = self.read(a, length)
                with self.lock:
                    self.count += kind == APPLICATION_DATA
                    if self.count > LIMIT and not self.over:
                        self.over = True
                        say("cut")
                    if self.over:
                        break
                b.sendall(head + body)
                if kind == APPLICATION_DATA:
                    say(f"carried {self.count}")
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", LISTEN))
listener.listen(16)
say("ready")
while True:
    try:
        Pair(listener.accept()[0])
    except OSError:
        continue
