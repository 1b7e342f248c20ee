"""Checks replies against a Varlink interface description: sd-varlink itself says nothing when they do not match."""

import re

TOKEN = re.compile(r"#.*|\s+|(->|\[string\]|\[\]|[A-Za-z][A-Za-z0-9_.]*|[?():,])")
SIMPLE = {"bool": bool, "int": int, "float": (int, float), "string": str, "object": dict}


class Interface:
    def __init__(self, text):
        self.tokens = [m.group(1) for m in TOKEN.finditer(text) if m.group(1)]
        self.types, self.methods, self.errors = {}, {}, {}
        assert self._next() == "interface"
        self.name = self._next()
        while self.tokens:
            kind, name = self._next(), self._next()
            if kind == "type":
                self.types[name] = self._braces()
            elif kind == "error":
                self.errors[name] = self._braces()
            else:
                assert kind == "method", kind
                self._braces()
                assert self._next() == "->"
                self.methods[name] = self._braces()

    def _next(self):
        return self.tokens.pop(0)

    def _braces(self):
        """A struct as a dictionary, an enum as a set."""
        assert self._next() == "("
        fields, words = {}, set()
        while self.tokens[0] != ")":
            name = self._next()
            if self.tokens[0] == ":":
                self._next()
                fields[name] = self._type()
            else:
                words.add(name)
            if self.tokens[0] == ",":
                self._next()
        self._next()
        return words or fields

    def _type(self):
        token = self._next()
        if token in ("?", "[]", "[string]"):
            return (token, self._type())
        if token == "(":
            self.tokens.insert(0, token)
            return self._braces()
        return token

    # --- judging: each gives a list of complaints

    def reply(self, method, parameters):
        return self._object(self.methods[method], parameters, method)

    def error(self, name, parameters):
        if name not in self.errors:
            return [f"error {name} is not declared"]
        return self._object(self.errors[name], parameters, name)

    def _object(self, fields, value, where):
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        bad = [f"{where}.{name} is not declared" for name in value if name not in fields]
        for name, kind in fields.items():
            bad += self._value(kind, value.get(name), f"{where}.{name}")
        return bad

    def _value(self, kind, value, where):
        if isinstance(kind, tuple) and kind[0] == "?":
            return [] if value is None else self._value(kind[1], value, where)
        if value is None:
            return [f"{where} is missing"]
        if isinstance(kind, tuple):
            wanted, items = (list, value) if kind[0] == "[]" else (dict, getattr(value, "values", list)())
            if not isinstance(value, wanted):
                return [f"{where} is no {wanted.__name__}"]
            return [bad for item in items for bad in self._value(kind[1], item, where + kind[0])]
        if isinstance(kind, str) and kind in SIMPLE:
            right = isinstance(value, SIMPLE[kind]) and not (kind == "int" and isinstance(value, bool))
            return [] if right else [f"{where} is no {kind}: {value!r}"]
        if isinstance(kind, str):
            kind = self.types[kind]
        if isinstance(kind, set):
            return [] if value in kind else [f"{where} is none of {sorted(kind)}: {value!r}"]
        return self._object(kind, value, where)
