Feature: the wire

  As somebody who writes setup services in a language of my own choice
  I want that whatever relay/protocol/README.md says is all that I have to do
  So that I need no library of golive.

  Rule: a setup service answers in one of two ways

    Background:
      Given an environment with one orchestrator
      And somebody observes these messages:
        | deployment-search-1.0.0-offline-done   |
        | deployment-search-1.0.0-offline-failed |
        | shop-1.0.0-set-up                      |
        | shop-1.0.0-setup-failed                |

    Scenario Outline: it has done its work, and <way>
      Given version 1.0.0 of the app shop, with these services:
        | service | version | scripts | its setup service |
        | search  | 1.0.0   | offline | bare, <way>       |
      And somebody starts the programs of the app shop
      When I run "golive deploy shop"
      Then it ends with code 0
      And these messages are observed, and no other:
        | message                              | Golive-Rollout | Golive-Attempt | Golive-Sequence | payload |
        | deployment-search-1.0.0-offline-done | <rollout>      | <attempt>      |                 | …       |
        | shop-1.0.0-set-up                    | <id>           |                | <number>        | …       |
      When I run "golive ledger"
      Then the answer holds "search 1.0.0 offline <ago> <duration> <items> <id> yes"

      Examples:
        | way                    | rollout | attempt | items |
        | publishes with headers | <id>    | 1       | 0     |
        | requests with fields   |         |         | 0     |
        | replies text           | <id>    | 1       | 0     |
        | replies JSON           | <id>    | 1       | 7     |

    Scenario Outline: it has failed, and <way>
      Given version 1.0.0 of the app shop, with these services:
        | service | version | scripts | its setup service |
        | search  | 1.0.0   | offline | bare, <way>       |
      And the offline script of search 1.0.0 fails with "no room on the disk"
      And somebody starts the programs of the app shop
      When I run "golive deploy shop"
      Then it ends with code 1
      And the story tells "golive: error: step search/offline: …no room on the disk"
      And these messages are observed, and no other:
        | message                                | payload                |
        | deployment-search-1.0.0-offline-failed | …no room on the disk…  |
        | shop-1.0.0-setup-failed                | …"final":false…        |
      And search does not answer

      Examples:
        | way                    |
        | publishes with headers |
        | requests with fields   |
        | replies text           |
        | replies JSON           |

    @long
    Scenario: an answer for an attempt that is over changes nothing
      Given version 1.0.0 of the app shop, with these services:
        | service | version | scripts | timeout | its setup service            |
        | search  | 1.0.0   | offline | 2s      | bare, publishes with headers |
      And the offline script of search 1.0.0 takes until I say so
      And somebody starts the programs of the app shop
      When I run "golive deploy shop"
      Then it ends with code 1
      When I start "golive retry ROLLOUT"
      And I let the first run of the offline script of search 1.0.0 end
      Then the orchestrator logs "… warn answer changes nothing …"
      And the offline script of search 1.0.0 has begun again
      And search does not answer
      When I let the offline script of search 1.0.0 end
      Then it ends with code 0
      And these messages are observed, and no other:
        | message                                | Golive-Attempt | Golive-Sequence |
        | deployment-search-1.0.0-offline-failed | 1              |                 |
        | shop-1.0.0-setup-failed                |                | <number>        |
        | deployment-search-1.0.0-offline-done   | 1              |                 |
        | deployment-search-1.0.0-offline-done   | 2              |                 |
        | shop-1.0.0-set-up                      |                | <number>        |

    @long
    Scenario: a reply is not lost when there is no orchestrator
      Given version 1.0.0 of the app shop, with these services:
        | service | version | scripts | its setup service  |
        | search  | 1.0.0   | offline | bare, replies text |
      And the offline script of search 1.0.0 takes until I say so
      And somebody starts the programs of the app shop
      When I start "golive deploy shop"
      And the offline script of search 1.0.0 has begun
      And the first orchestrator is killed with SIGKILL
      And I let the offline script of search 1.0.0 end
      And another orchestrator is started
      Then it ends with code 0

  Rule: what is published by hand is for trying a script out

    Background:
      Given an environment with one orchestrator
      And version 1.0.0 of the app shop, with these services:
        | service | version | scripts |
        | search  | 1.0.0   | offline |
      And somebody observes these messages:
        | deployment-search-1.0.0-offline-done |
        | shop-1.0.0-set-up                    |
      And somebody starts the programs of the app shop

    Scenario: it runs each time, and changes nothing
      When somebody publishes "deployment-search-1.0.0-offline-start" by hand
      And somebody publishes "deployment-search-1.0.0-offline-start" by hand
      Then these scripts have run:
        | script               | times |
        | search 1.0.0 offline | 2     |
      And these messages are observed, and no other:
        | message                              | Golive-Rollout | payload |
        | deployment-search-1.0.0-offline-done |                | {…}     |
        | deployment-search-1.0.0-offline-done |                | {…}     |
      When I run "golive ledger"
      Then the answer is:
        """
        No script has run here yet.
        """
      When I run "golive deploy shop"
      Then it ends with code 0
      And these scripts have run:
        | script               | times |
        | search 1.0.0 offline | 3     |

    Scenario: it does not answer for the script of a rollout that is under way
      Given the offline script of search 1.0.0 deals the first time with 5 items and takes until I say so
      When I start "golive deploy shop"
      And the offline script of search 1.0.0 has begun
      And somebody publishes "deployment-search-1.0.0-offline-start" by hand
      Then the orchestrator logs "… warn answer changes nothing …"
      When I run "golive status"
      Then the answer holds "running: search/offline since <ago>…"
      When I let the offline script of search 1.0.0 end
      Then the rollout of shop 1.0.0 completes
      When I run "golive ledger"
      Then the answer holds "search 1.0.0 offline <ago> <duration> 5 <id> yes"
      And these messages are observed, and no other:
        | message                              | Golive-Rollout | payload        |
        | deployment-search-1.0.0-offline-done |                | {…}            |
        | deployment-search-1.0.0-offline-done | <id>           | …"items":5…    |
        | shop-1.0.0-set-up                    | <id>           | …"final":true… |

  Rule: a deployment system needs NATS alone

    Background:
      Given an environment with one orchestrator
      And version 1.0.0 of the app shop, with these services:
        | service | version | scripts |
        | search  | 1.0.0   | offline |

    Scenario: it asks for a rollout, asks again, and hears the end of the one
      Given somebody observes these messages:
        | shop-1.0.0-setting-up |
        | shop-1.0.0-set-up     |
      And somebody starts the programs of the app shop
      When somebody requests "golive.api.deploy" with:
        """
        {"rollout": "0199c6d2-1a2b-7000-8000-000000000001", "by": "ci", "release": {
          "app": "shop", "version": "1.0.0", "strategy": "parallel", "setup": false,
          "services": [{"name": "search", "version": "1.0.0", "migrations": ["offline"], "instances": 1}]}}
        """
      Then the reply is "{"id":"0199c6d2-1a2b-7000-8000-000000000001",…}"
      When somebody requests "golive.api.deploy" with:
        """
        {"rollout": "0199c6d2-1a2b-7000-8000-000000000001", "by": "ci", "release": {
          "app": "shop", "version": "1.0.0", "strategy": "parallel", "setup": false,
          "services": [{"name": "search", "version": "1.0.0", "migrations": ["offline"], "instances": 1}]}}
        """
      Then the reply is "{"id":"0199c6d2-1a2b-7000-8000-000000000001",…}"
      And these messages are observed, and no other:
        | message           | Golive-Rollout                       | Golive-Sequence | payload        |
        | shop-1.0.0-setting-up | 0199c6d2-1a2b-7000-8000-000000000001 | <number>    | …"phase":"setup"… |
        | shop-1.0.0-set-up | 0199c6d2-1a2b-7000-8000-000000000001 | <number>        | …"final":true… |
      And the stream holds these events of the app shop:
        | ce-type                     | ce-subject                           | ce-source         | ce-specversion | ce-datacontenttype | ce-time | ce-id | payload                                                                                                                                                      |
        | golive.rollout.created.v1   | 0199c6d2-1a2b-7000-8000-000000000001 | /golive/apps/shop | 1.0            | application/json   | <time>  | <id>  | {"format":2,"app":"shop","version":"1.0.0","rollout":"0199c6d2-1a2b-7000-8000-000000000001","event":{"type":"created",…"summary":{"status":"running","done":0,"of":2,"running":["search/offline"]}… |
        | golive.rollout.step-done.v1 | 0199c6d2-1a2b-7000-8000-000000000001 | /golive/apps/shop | 1.0            | application/json   | <time>  | <id>  | …"previous":<number>,"event":{"type":"step-done",…"summary":{"status":"running","done":1,"of":2,"running":["search/traffic"]}… |
        | golive.rollout.completed.v1 | 0199c6d2-1a2b-7000-8000-000000000001 | /golive/apps/shop | 1.0            | application/json   | <time>  | <id>  | …"event":{"type":"opened",…"summary":{"status":"completed","done":2,"of":2}… |
      And these scripts have run:
        | script               | times |
        | search 1.0.0 offline | 1     |

    Scenario Outline: it is told what is wrong with its request
      When somebody requests "golive.api.<command>" with:
        """
        <request>
        """
      Then the reply is "{"error":{"code":"<code>","message":"<message>…"…}}"

      Examples:
        | command | request                     | code      | message                              |
        | deploy  | {"rollout": "1"}            | invalid   | rollout id \"1\" is no UUID v7     |
        | deploy  | shop                        | invalid   | the request is not JSON              |
        | show    | {"rollout": "0199c6d2"}     | not_found | there is no rollout 0199c6d2         |
        | status  | {"app": "shop"}             | not_found | no version of an app \"shop\"      |
        | list    | {"limit": 101}              | invalid   | limit is 101, it must be from 1 to 100 |
        | pause   | {"rollout": "1", "stpe": ""} | invalid  | the request is refused: unknown field \"stpe\", did you mean step? |
        | deploy  | {"rollout": "1", "needs": ["signatures"]} | invalid | this orchestrator does not know \"signatures\", which the request needs |

  Rule: names that look alike are told apart

    Background:
      Given an environment with one orchestrator

    Scenario: two apps are rolled out at the same time
      Given version 1.0.0 of the app shop, with these services:
        | service | version | scripts |
        | search  | 1.0.0   | offline |
      And version 1.0.0 of the app blog, with these services:
        | service | version | scripts |
        | posts   | 1.0.0   | offline |
      And the offline script of search 1.0.0 takes until I say so
      And somebody starts the programs of the app shop
      And somebody starts the programs of the app blog
      When I start "golive deploy shop"
      And the offline script of search 1.0.0 has begun
      And I run "golive deploy blog"
      Then it ends with code 0
      When I run "golive status"
      Then the answer is:
        """
        blog 1.0.0: rollout <id> completed <ago>
        SERVICE VERSION ONLINE ALIVE NOT RUN
        posts   1.0.0   1.0.0  1     -
        shop 1.0.0: rollout <id> running <ago>
        running: search/offline since <ago>…
        SERVICE VERSION ONLINE ALIVE    NOT RUN
        search  1.0.0   -      <number> offline
        """
      When I let the offline script of search 1.0.0 end
      Then the rollout of shop 1.0.0 completes

    Scenario: service a-b in version 1.0.0, and service a in version 1.0.0-b
      Given version 1.0.0 of the app shop, with these services:
        | service | version | scripts         |
        | a-b     | 1.0.0   | offline, online |
        | a       | 1.0.0-b | offline, online |
      And the offline script of a 1.0.0-b fails the first time with "no room on the disk"
      And the online script of a-b 1.0.0 deals with 3 items, "three"
      And the online script of a 1.0.0-b deals with 4 items, "four"
      And somebody starts the programs of the app shop
      When I run "golive deploy shop"
      Then it ends with code 1
      And the story tells "← deployment-a-b-1.0.0-offline-done (<duration>)"
      And the story tells "golive: error: step a/offline: failed: no room on the disk"
      When I run "golive retry ROLLOUT"
      Then it ends with code 0
      And these scripts have run:
        | script            | times |
        | a-b 1.0.0 offline | 1     |
        | a-b 1.0.0 online  | 1     |
        | a 1.0.0-b offline | 2     |
        | a 1.0.0-b online  | 1     |
      When I run "golive show ROLLOUT"
      Then the answer holds "… a-b/online 1.0.0 done 1 <duration> 3 three"
      And the answer holds "… a/online 1.0.0-b done 1 <duration> 4 four"
      And a-b answers as version 1.0.0
      And a answers as version 1.0.0-b

    Scenario: app a-b in version 1.0.0, and app a in version 1.0.0-b
      Given version 1.0.0 of the app a-b, with these services:
        | service | version |
        | first   | 1.0.0   |
      And the app a-b has a setup script of its own
      And version 1.0.0-b of the app a, with these services:
        | service | version |
        | second  | 1.0.0   |
      And the app a has a setup script of its own
      And the setup script of a 1.0.0-b fails with "no room on the disk"
      And somebody starts the programs of the app a-b
      And somebody starts the programs of the app a
      When I run "golive deploy a-b"
      Then it ends with code 0
      When I run "golive deploy a"
      Then it ends with code 1
      And these scripts have run:
        | script          | times |
        | a-b 1.0.0 setup | 1     |
        | a 1.0.0-b setup | 1     |
      When I run "golive ledger"
      Then the answer is:
        """
        OF  VERSION PHASE RAN   TOOK       ITEMS ROLLOUT COUNTS
        a-b 1.0.0   setup <ago> <duration> 0     <id>    yes
        """
