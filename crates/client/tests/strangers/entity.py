"""An event hub, or a queue of Service Bus, as far as a sender can tell: qpid-proton speaks, this says what the cloud would.

Takes JSON: port, entity, policy, key, maxMessageSize, audience, and certificate and key file for TLS. Writes a line of
JSON for each thing that happens; what it has written of a message is what it has accepted.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.parse

from proton import Condition, Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

told = json.loads(sys.argv[1])


def say(event, **words):
    print(json.dumps({"event": event, "at": time.monotonic(), **words}), flush=True)


def why_not(token, name):
    """What is wrong with a token, and when it ends: checked as Microsoft documents it, with nothing of isotherm's."""
    if not token.startswith("SharedAccessSignature "):
        return "MalformedToken: no SharedAccessSignature", 0
    fields = dict(part.split("=", 1) for part in token[len("SharedAccessSignature "):].split("&"))
    if set(fields) != {"sr", "sig", "se", "skn"}:
        return f"MalformedToken: {sorted(fields)}", 0
    ends = int(fields["se"])
    text = fields["sr"] + "\n" + fields["se"]
    right = base64.b64encode(hmac.new(told["key"].encode(), text.encode(), hashlib.sha256).digest()).decode()
    if fields["skn"] != told["policy"]:
        return "InvalidSignature: no such policy", ends
    if not hmac.compare_digest(urllib.parse.unquote(fields["sig"]), right):
        return "InvalidSignature: The token has an invalid signature.", ends
    if name != told["audience"] or urllib.parse.unquote(fields["sr"]) != name:
        return f"InvalidAudience: {name}", ends
    if ends <= time.time():
        return "ExpiredToken: The token is expired.", ends
    return None, ends


class Peer(MessagingHandler):
    def __init__(self):
        super().__init__(prefetch=200, auto_accept=False)
        self.ends = {}  # when the token of each connection ends
        self.answers = {}

    def on_start(self, event):
        scheme = "amqp"
        if "certificate" in told:
            scheme = "amqps"
            event.container.ssl.server.set_credentials(told["certificate"], told["certificateKey"], None)
        event.container.listen(f"{scheme}://127.0.0.1:{told['port']}")
        say("ready")

    def on_connection_opened(self, event):
        say("opened", mechanism=event.transport.sasl().mech, host=event.connection.remote_hostname)

    def on_link_opening(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        if link.is_sender:
            if link.remote_source.address == "$cbs":
                self.answers[event.connection, link.remote_target.address] = link
            link.open()
            return
        address = link.remote_target.address
        if address != "$cbs":
            if self.ends.get(event.connection, 0) <= time.time():
                return self.refuse(link, "amqp:unauthorized-access", "Unauthorized access. 'Send' claim(s) are required")
            if address != told["entity"]:
                return self.refuse(link, "amqp:not-found", f"The messaging entity '{address}' could not be found.")
            link.max_message_size = told["maxMessageSize"]
            say("attached", address=address, durability=link.remote_target.durability)
        link.open()

    def refuse(self, link, condition, why):
        link.open()
        link.condition = Condition(condition, why)
        link.close()

    def on_delivery(self, event):
        if event.link.is_receiver and event.delivery.readable and not event.delivery.partial:
            self.size = event.delivery.pending

    def on_message(self, event):
        if event.receiver.remote_target.address == "$cbs":
            return self.put_token(event)
        message, delivery = event.message, event.delivery
        assert self.size <= told["maxMessageSize"], "the sender was told what is too much"
        annotations = {str(key): value for key, value in (message.annotations or {}).items()}
        body = bytes(message.body)
        say(
            "message",
            size=self.size,
            inferred=message.inferred,
            key=annotations.get("x-opt-partition-key"),
            properties=message.properties or {},
            durable=message.durable,
            body=base64.b64encode(body).decode(),
        )
        self.accept(delivery)

    def put_token(self, event):
        request, words = event.message, event.message.properties
        right = words["operation"] == "put-token" and words["type"] == "servicebus.windows.net:sastoken"
        why, ends = why_not(request.body, words["name"]) if right else ("no such operation or type", 0)
        say("token", why=why, ends=ends, name=words["name"])
        self.accept(event.delivery)
        if why is None:
            self.ends[event.connection] = ends
            event.container.schedule(max(ends - time.time(), 0) + 0.05, Expiry(self, event.connection))
        status = (202, "Accepted") if why is None else (401, why)
        answer = Message(properties={"status-code": status[0], "status-description": status[1]})
        answer.correlation_id = request.id
        self.answers[event.connection, request.reply_to].send(answer)

    def on_transport_closed(self, event):
        say("closed")


class Expiry(MessagingHandler):
    """Ends a connection whose token has ended, as the cloud does."""

    def __init__(self, peer, connection):
        super().__init__()
        self.peer, self.connection = peer, connection

    def on_timer_task(self, event):
        if self.peer.ends.get(self.connection, 0) <= time.time():
            say("expired")
            self.connection.condition = Condition("amqp:unauthorized-access", "ExpiredToken")
            self.connection.close()


Container(Peer()).run()
