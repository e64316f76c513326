"""Checks a document against the rules of the JUnit schema (Windy Road's JUnit.xsd, the strictest in use; Jenkins' allows more):
elements in their order, every attribute that is required, of its type, and counts that are those of what is inside."""

import re
import sys
import xml.etree.ElementTree as ET

TIME = re.compile(r"\d+\.\d+\Z")
STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\Z")
SUITE = {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "package", "id"}
PROBLEMS = []


def wrong(where, what):
    PROBLEMS.append(f"{where}: {what}")


def attributes(element, required, optional=()):
    there = set(element.attrib)
    for missing in set(required) - there:
        wrong(element.tag, f"no attribute {missing}")
    for unknown in there - set(required) - set(optional):
        wrong(element.tag, f"attribute {unknown} is not of the schema")


def test_case(case):
    attributes(case, {"name", "classname", "time"})
    if not TIME.match(case.get("time", "")):
        wrong("testcase", f"time {case.get('time')!r}")
    if len(case) > 1:
        wrong("testcase", "more than one end")
    for end in case:
        if end.tag not in ("failure", "error"):
            wrong("testcase", f"{end.tag} is not of the schema")
        attributes(end, {"type"}, {"message"})
        if len(end):
            wrong(end.tag, "elements inside")


def suite(element, number):
    attributes(element, SUITE)
    if element.get("id") != str(number):
        wrong("testsuite", f"id {element.get('id')} at place {number}")
    if not STAMP.match(element.get("timestamp", "")):
        wrong("testsuite", f"timestamp {element.get('timestamp')!r}")
    if not element.get("hostname") or not element.get("name"):
        wrong("testsuite", "an empty name")
    tags = [child.tag for child in element]
    cases = element.findall("testcase")
    if tags != ["properties"] + ["testcase"] * len(cases) + ["system-out", "system-err"]:
        wrong("testsuite", f"children {tags}")
    for property in element.iterfind("properties/property"):
        attributes(property, {"name", "value"})
    for case in cases:
        test_case(case)
    for name, counted in (
        ("tests", len(cases)),
        ("failures", len(element.findall("testcase/failure"))),
        ("errors", len(element.findall("testcase/error"))),
    ):
        if element.get(name) != str(counted):
            wrong("testsuite", f"{name} says {element.get(name)}, there are {counted}")


root = ET.fromstring(sys.stdin.buffer.read())
if root.tag != "testsuites" or root.attrib:
    wrong("root", f"{root.tag} {root.attrib}")
for number, child in enumerate(root):
    if child.tag != "testsuite":
        wrong("testsuites", child.tag)
    suite(child, number)
for problem in PROBLEMS:
    print(problem)
for child in root:
    print(child.get("name"), child.get("tests"), child.get("failures"), child.get("errors"))
sys.exit(1 if PROBLEMS else 0)
