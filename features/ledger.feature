Feature: what has run, and what may run

  As somebody who answers for the data of an environment
  I want to record by hand what has run, to be told what has changed since it ran, and to
  be kept from going back or jumping ahead by mistake
  So that no script runs where it must not, and none is missing where it must.

  Background:
    Given an environment with one orchestrator
    And version 1.1.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 1.1.0   | offline, online |
    And somebody starts the programs of the app shop

  Scenario: a script was run by hand
    When I run "golive ledger mark search 1.1.0 offline --app shop --reason run-by-hand"
    Then it ends with code 0
    And the answer is:
      """
      search 1.1.0 offline is recorded as run (<id>)
      """
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells "1. search/offline run the offline script of 1.1.0 skipped: …"
    And these scripts have run:
      | script              | times |
      | search 1.1.0 online | 1     |
    When I run "golive ledger"
    Then the answer is:
      """
      OF     VERSION PHASE   RAN   TOOK       ITEMS ROLLOUT COUNTS
      search 1.1.0   offline <ago> -          -     <id>    yes, marked by …: run-by-hand
      search 1.1.0   online  <ago> <duration> 0     <id>    yes
      """
    When I run "golive history"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS    BEGUN TOOK       BY
      <id>    shop 1.1.0   completed <ago> <duration> …
      <id>    shop -       marked    <ago> <duration> …
      """
    When I run "golive ledger -o json"
    Then the answer is JSON with the fields that marked.txt lists

  Scenario: without a reason, nothing is recorded
    When I run "golive ledger mark search 1.1.0 offline --app shop"
    Then it ends with code 2
    And I am told:
      """
      golive: error: --reason is needed: it stands in the ledger
      golive: hint: see golive ledger mark --help
      """
    When I run "golive ledger mark search 1.1.0 offline --reason run-by-hand"
    Then it ends with code 1
    And I am told:
      """
      golive: error: service search has not been rolled out here: it is not known to which app it belongs
      golive: hint: name its app with --app
      """
    When I run "golive ledger mark search 1.1.0 ofline --app shop --reason run-by-hand"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: …ofline…
      """
    When I run "golive ledger"
    Then the answer is:
      """
      No script has run here yet.
      """

  Scenario: the setup service was built anew after its scripts had run
    Given I have run "golive deploy shop"
    When I run "golive status"
    Then the answer holds these lines:
      """
      SERVICE VERSION ONLINE ALIVE NOT RUN
      search 1.1.0 1.1.0 1 -
      """
    When the setup service of search 1.1.0 is built anew and takes the place of the one that runs
    And I run "golive status"
    Then it ends with code 0
    And the answer holds these lines:
      """
      SERVICE VERSION ONLINE ALIVE NOT RUN CHANGED
      search 1.1.0 1.1.0 1 - offline, online
      """
    When I run "golive status -o json"
    Then the answer holds:
      """
      "changed": [
      """

  Scenario: an older version
    Given I have run "golive deploy shop"
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: shop 1.0.0 is older than 1.1.0, which has been live here
      golive: hint: golive backward shop undoes what the newer version did; to bring the older one on top of that: --allow-older
      """
    And search answers as version 1.1.0
    When I run "golive deploy shop -o json"
    Then the answer holds:
      """
      "code": "older",
      """
    When I run "golive deploy shop --allow-older"
    Then it ends with code 0
    And search answers as version 1.0.0

  Scenario: an older version of a service in a newer one of the app
    Given I have run "golive deploy shop"
    And version 1.2.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: search 1.0.0 is older than 1.1.0, which is online here
      golive: hint: to bring it all the same: --allow-older
      """

  Scenario: a version that must not be skipped
    Given I have run "golive deploy shop"
    And version 1.3.0 of the app shop, with these services:
      | service | version |
      | search  | 1.3.0   |
    And the versions 1.2.0 of the app shop must not be skipped
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: shop 1.3.0 would jump over 1.2.0, which must not be skipped: 1.1.0 is here
      golive: hint: roll out shop 1.2.0 first
      """
    Given version 1.2.0 of the app shop, with these services:
      | service | version |
      | search  | 1.2.0   |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 1.3.0 of the app shop, with these services:
      | service | version |
      | search  | 1.3.0   |
    And the versions 1.2.0 of the app shop must not be skipped
    When I run "golive deploy shop"
    Then it ends with code 0
    And search answers as version 1.3.0
